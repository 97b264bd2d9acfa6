package media

import (
	"encoding/hex"
	"testing"
)

// The hashes were computed with the reference implementation, version 0.1.1 of
// the npm package thumbhash.
func TestThumbHash(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		width, height int
		pixel         func(x, y int) [4]int // modulo 256
		want          string
	}{
		"landscape": {64, 48, func(x, y int) [4]int { return [4]int{x * y, y*5 + x*x, (x ^ y) * 2, 255} },
			"d9e905158451656603755574575877755cf2034238"},
		"portrait": {30, 100, func(x, y int) [4]int { return [4]int{x * x, y * 3, x * y, 255} },
			"9ad7091210217107777a725965a320e3f8"},
		"square": {100, 100, func(x, y int) [4]int { return [4]int{(x ^ y) * 2, x*7 + y*3, 255 - x, 255} },
			"65f505370a7a7886058b779753796877a687086774840308"},
		"transparent": {50, 40, func(x, y int) [4]int { return [4]int{x * y, y*6 + x, 128 + x*x, x*3 + y*y} },
			"1fd88514880779767078a687370467658f1776367107723100"},
		"invisible": {5, 9, func(x, y int) [4]int { return [4]int{255, 255, 255, 0} },
			"0008820300000000000000000000000000000000000000"},
		"one row": {100, 1, func(x, y int) [4]int { return [4]int{x * 2, x * x, 255 - x, 255} },
			"e2e445c9907777778888088874870f89a7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pixels []byte
			for y := range row.height {
				for x := range row.width {
					for _, value := range row.pixel(x, y) {
						pixels = append(pixels, byte(value))
					}
				}
			}
			hash, err := thumbHash(row.width, row.height, pixels)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(hash); got != row.want {
				t.Errorf("the hash is %s, want %s", got, row.want)
			}
		})
	}
	for _, size := range [][3]int{{0, 1, 0}, {101, 1, 404}, {1, 101, 404}, {2, 2, 15}} {
		if hash, err := thumbHash(size[0], size[1], make([]byte, size[2])); err == nil {
			t.Errorf("%d × %d pixels in %d bytes have the hash %x", size[0], size[1], size[2], hash)
		}
	}
}
