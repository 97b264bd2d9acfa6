package media

import (
	"errors"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/banksia-photos/banksia"
)

// cropped draws a crop and reads its size and the colour in its middle.
func cropped(t *testing.T, pool *Pool, path string, crop Crop) (width, height int, middle color.NRGBA) {
	t.Helper()
	format, ok := FormatByName(filepath.Base(path))
	if !ok {
		t.Fatalf("no format for %s", path)
	}
	drawn, err := pool.Crop(t.Context(), path, format, crop)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(crop.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if drawn.MIMEType != "image/jpeg" {
		return drawn.Width, drawn.Height, middle
	}
	picture, err := jpeg.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds().Size()
	if size.X != drawn.Width || size.Y != drawn.Height {
		t.Errorf("the crop has %v, reported %d by %d", size, drawn.Width, drawn.Height)
	}
	return size.X, size.Y, color.NRGBAModel.Convert(picture.At(size.X/2, size.Y/2)).(color.NRGBA)
}

func similar(a, b color.NRGBA) bool {
	near := func(x, y uint8) bool { return math.Abs(float64(x)-float64(y)) < 30 }
	return near(a.R, b.R) && near(a.G, b.G) && near(a.B, b.B)
}

// A part lies where the display space of the upload says, also in a smaller file,
// and never grows.
func TestCrop(t *testing.T) {
	t.Parallel()
	pool, dir := newPool(t, nil), t.TempDir()
	red, green, blue, white := color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 255, 0, 255}, color.NRGBA{0, 0, 255, 255}, color.NRGBA{255, 255, 255, 255}
	picture := quarters(800, 400, [4]color.NRGBA{red, green, blue, white})
	plain := write(t, dir, "plain.jpg", encodeJPEG(t, picture))
	turned := write(t, dir, "turned.jpg", withExif(encodeJPEG(t, picture), 6)) // to 400 by 800
	png := write(t, dir, "flat.png", encodePNG(t, picture))
	for name, c := range map[string]struct {
		path          string
		area          banksia.BoundingBox
		width, height int // of the space of the area
		edge          int
		wide, high    int
		middle        color.NRGBA
	}{
		"a corner":                  {plain, banksia.BoundingBox{X: 780, Y: 380, W: 20, H: 20}, 800, 400, 256, 20, 20, white},
		"smaller":                   {plain, banksia.BoundingBox{X: 400, Y: 0, W: 200, H: 200}, 800, 400, 50, 50, 50, green},
		"one pixel":                 {plain, banksia.BoundingBox{X: 10, Y: 390, W: 1, H: 1}, 800, 400, 256, 1, 1, blue},
		"all of it":                 {plain, banksia.BoundingBox{W: 800, H: 400}, 800, 400, 100, 100, 50, color.NRGBA{}},
		"in a file of a tenth":      {plain, banksia.BoundingBox{X: 4100, Y: 2100, W: 1000, H: 1000}, 8000, 4000, 256, 100, 100, white},
		"a pixel in a file of less": {plain, banksia.BoundingBox{X: 7999, Y: 3999, W: 1, H: 1}, 8000, 4000, 256, 1, 1, white},
		"turned":                    {turned, banksia.BoundingBox{X: 210, Y: 10, W: 100, H: 100}, 400, 800, 256, 100, 100, red},
		"of a PNG":                  {png, banksia.BoundingBox{X: 10, Y: 210, W: 100, H: 100}, 800, 400, 50, 50, 50, blue},
	} {
		wide, high, middle := cropped(t, pool, c.path, Crop{Area: c.area, Width: c.width, Height: c.height, Edge: c.edge, Path: filepath.Join(t.TempDir(), "crop")})
		if wide != c.wide || high != c.high || c.middle.A != 0 && !similar(middle, c.middle) {
			t.Errorf("%s: %d by %d, %v in the middle; not %d by %d, %v", name, wide, high, middle, c.wide, c.high, c.middle)
		}
	}
	// What can be seen through stays so.
	clear := write(t, dir, "clear.png", encodePNG(t, quarters(80, 40, [4]color.NRGBA{red, {}, blue, white})))
	transparent, _ := FormatByName("clear.png")
	to := filepath.Join(dir, "crop.webp")
	drawn, err := pool.Crop(t.Context(), clear, transparent, Crop{Area: banksia.BoundingBox{X: 20, Y: 0, W: 40, H: 40}, Width: 80, Height: 40, Edge: 30, Path: to})
	if content, readErr := os.ReadFile(to); err != nil || readErr != nil || drawn.MIMEType != "image/webp" || drawn.Width != 30 || int64(len(content)) != drawn.SizeBytes || string(content[8:12]) != "WEBP" {
		t.Errorf("a crop with transparency: %+v, %v, %v", drawn, err, readErr)
	}
	format, _ := FormatByName("plain.jpg")
	to = filepath.Join(dir, "refused")
	for _, c := range []Crop{
		{Area: banksia.BoundingBox{W: 801, H: 1}}, {Area: banksia.BoundingBox{X: 800, W: 1, H: 1}}, {Area: banksia.BoundingBox{X: -1, W: 1, H: 1}},
		{Area: banksia.BoundingBox{W: 0, H: 1}}, {Area: banksia.BoundingBox{X: math.MaxInt, W: math.MaxInt, H: 1}},
	} {
		c.Width, c.Height, c.Edge, c.Path = 800, 400, 100, to
		if _, err := pool.Crop(t.Context(), plain, format, c); err == nil {
			t.Errorf("%v was cropped", c.Area)
		}
	}
	broken := write(t, dir, "broken.jpg", encodeJPEG(t, picture)[:200])
	if _, err := pool.Crop(t.Context(), broken, format, Crop{Area: banksia.BoundingBox{W: 9, H: 9}, Width: 800, Height: 400, Edge: 100, Path: to}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

// A face in a video is cut out of the frame in which it was found.
func TestCropOfVideo(t *testing.T) {
	t.Parallel()
	pool, path := newPool(t, nil), filepath.Join(t.TempDir(), "clip.mp4")
	tool(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=red:size=320x240:rate=10:duration=2", "-f", "lavfi", "-i", "color=blue:size=320x240:rate=10:duration=2",
		"-filter_complex", "concat=n=2", "-pix_fmt", "yuv420p", "-c:v", "libx264", path)
	at := func(ms int) *int { return &ms }
	for name, c := range map[string]struct {
		at     *int
		middle color.NRGBA
	}{
		"the usual still": {nil, color.NRGBA{255, 0, 0, 255}},
		"the first frame": {at(0), color.NRGBA{255, 0, 0, 255}},
		"a later frame":   {at(3050), color.NRGBA{0, 0, 255, 255}},
		"beyond the end":  {at(90000), color.NRGBA{255, 0, 0, 255}},
	} {
		wide, high, middle := cropped(t, pool, path, Crop{Area: banksia.BoundingBox{X: 100, Y: 60, W: 60, H: 60}, Width: 320, Height: 240, Edge: 256, At: c.at, Path: filepath.Join(t.TempDir(), "crop")})
		if wide != 60 || high != 60 || !similar(middle, c.middle) {
			t.Errorf("%s: %d by %d, %v", name, wide, high, middle)
		}
	}
}
