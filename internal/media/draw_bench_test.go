package media

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/banksia-photos/banksia"
)

// photo is a JPEG of 4000 × 3000 pixels and about 4 MB, as a phone writes it:
// soft shapes with noise.
func photo(b *testing.B) []byte {
	b.Helper()
	const width, height = 4000, 3000
	random := rand.New(rand.NewPCG(1, 2))
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			u, v := float64(x)/width, float64(y)/height
			shape := math.Sin(9*u+4*math.Sin(7*v)) * math.Cos(11*v+3*math.Sin(13*u))
			noise := 10 * random.NormFloat64()
			value := func(base, swing float64) uint8 { return uint8(min(max(base+swing*shape+noise, 0), 255)) }
			picture.SetRGBA(x, y, color.RGBA{value(140, 70), value(120, 60), value(100, 90), 255})
		}
	}
	var to bytes.Buffer
	if err := jpeg.Encode(&to, picture, &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	return to.Bytes()
}

// BenchmarkPhoto compares what an upload costs with the same sizes made by the
// image library's own program, plus sha256sum, with as many at the same time. The
// time of an operation is that of one photo.
func BenchmarkPhoto(b *testing.B) {
	dir := b.TempDir()
	content := photo(b)
	path := write(b, dir, "photo.jpg", content)
	pool := newPool(b, func(c *Config) { *c = DefaultConfig() })
	var number atomic.Int64
	each := func(b *testing.B, work func(b *testing.B, prefix string)) {
		b.SetBytes(int64(len(content)))
		b.RunParallel(func(pb *testing.PB) {
			prefix := filepath.Join(dir, strconv.FormatInt(number.Add(1), 10))
			for pb.Next() {
				work(b, prefix)
			}
		})
	}
	sizes := map[banksia.VariantName]string{
		banksia.VariantThumbnail: "-t.jpg", banksia.VariantSmall: "-s.jpg", banksia.VariantPreview: "-p.jpg",
	}
	b.Run("describe", func(b *testing.B) {
		each(b, func(b *testing.B, _ string) {
			if _, err := pool.Describe(b.Context(), path, Formats[0]); err != nil {
				b.Error(err)
			}
		})
	})
	b.Run("draw and hash", func(b *testing.B) {
		each(b, func(b *testing.B, prefix string) {
			var orders []Order
			for name, suffix := range sizes {
				orders = append(orders, Order{name, prefix + suffix})
			}
			if _, err := pool.Draw(b.Context(), path, Formats[0], orders); err != nil {
				b.Error(err)
			}
			if _, err := pool.ThumbHash(b.Context(), prefix+"-t.jpg", Formats[0]); err != nil {
				b.Error(err)
			}
		})
	})
	b.Run("vipsthumbnail and sha256sum", func(b *testing.B) {
		b.Setenv("VIPS_CONCURRENCY", "1")
		each(b, func(b *testing.B, prefix string) {
			commands := [][]string{{"sha256sum", path}}
			for name, suffix := range sizes {
				edge := strconv.Itoa(banksia.LongestEdge[name])
				commands = append(commands, []string{"vipsthumbnail", path, "--size", edge + "x" + edge + ">", "-o", prefix + suffix + "[Q=82,strip]"})
			}
			for _, c := range commands {
				if output, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
					b.Errorf("%q: %v: %s", c, err, output)
				}
			}
		})
	})
}
