package media

import (
	"fmt"
	"math"
)

// thumbHash encodes pixels, rows of 8 bit RGBA with sides of 1 to 100, as the
// ThumbHash of Evan Wallace (https://evanw.github.io/thumbhash/): the lowest
// cosine coefficients of luminance, of two colour differences and, where there
// is transparency, of alpha, in 4 to 6 bits each.
func thumbHash(width, height int, pixels []byte) ([]byte, error) {
	if width < 1 || height < 1 || width > thumbHashEdge || height > thumbHashEdge || len(pixels) != width*height*4 {
		return nil, fmt.Errorf("a ThumbHash of %d × %d pixels in %d bytes", width, height, len(pixels))
	}
	planes, transparent := lpqa(pixels)

	// The shorter side has fewer coefficients; transparency takes the room of some.
	most := 7.0
	if transparent {
		most = 5
	}
	longest := float64(max(width, height))
	lx := max(1, roundHalfUp(most*float64(width)/longest))
	ly := max(1, roundHalfUp(most*float64(height)/longest))
	l := cosines(planes[0], width, height, max(3, lx), max(3, ly))
	p := cosines(planes[1], width, height, 3, 3)
	q := cosines(planes[2], width, height, 3, 3)

	landscape := width > height
	shorter := lx
	if landscape {
		shorter = ly
	}
	head := uint32(roundHalfUp(63*l.mean)) |
		uint32(roundHalfUp(31.5+31.5*p.mean))<<6 |
		uint32(roundHalfUp(31.5+31.5*q.mean))<<12 |
		uint32(roundHalfUp(31*l.scale))<<18 |
		bit(transparent)<<23
	tail := uint32(shorter) |
		uint32(roundHalfUp(63*p.scale))<<3 |
		uint32(roundHalfUp(63*q.scale))<<9 |
		bit(landscape)<<15
	hash := []byte{byte(head), byte(head >> 8), byte(head >> 16), byte(tail), byte(tail >> 8)}

	waves := [][]float64{l.waves, p.waves, q.waves}
	if transparent {
		a := cosines(planes[3], width, height, 5, 5)
		hash = append(hash, byte(roundHalfUp(15*a.mean))|byte(roundHalfUp(15*a.scale))<<4)
		waves = append(waves, a.waves)
	}
	half := false // whether the low four bits of the last byte are taken
	for _, channel := range waves {
		for _, wave := range channel {
			nibble := byte(roundHalfUp(15 * wave))
			if half {
				hash[len(hash)-1] |= nibble << 4
			} else {
				hash = append(hash, nibble)
			}
			half = !half
		}
	}
	return hash, nil
}

// lpqa gives luminance (0 to 1), yellow against blue, red against green (-1 to 1)
// and alpha (0 to 1) of each pixel, laid over the average colour.
func lpqa(pixels []byte) (planes [4][]float64, transparent bool) {
	count := len(pixels) / 4
	var average [3]float64
	var opacity float64
	for i := range count {
		alpha := float64(pixels[4*i+3]) / 255
		for c := range average {
			average[c] += alpha / 255 * float64(pixels[4*i+c])
		}
		opacity += alpha
	}
	if opacity > 0 {
		for c := range average {
			average[c] /= opacity
		}
	}
	for c := range planes {
		planes[c] = make([]float64, count)
	}
	for i := range count {
		alpha := float64(pixels[4*i+3]) / 255
		var colour [3]float64
		for c := range colour {
			colour[c] = average[c]*(1-alpha) + alpha/255*float64(pixels[4*i+c])
		}
		r, g, b := colour[0], colour[1], colour[2]
		planes[0][i] = (r + g + b) / 3
		planes[1][i] = (r+g)/2 - b
		planes[2][i] = r - g
		planes[3][i] = alpha
	}
	return planes, opacity < float64(count)
}

// spectrum is one channel: its mean, and the other coefficients as 0 to 1 around
// 0.5 in units of the largest, the scale.
type spectrum struct {
	mean, scale float64
	waves       []float64
}

// cosines is the discrete cosine transform, of which the coefficients above the
// antidiagonal of an nx by ny square are kept.
func cosines(plane []float64, width, height, nx, ny int) spectrum {
	var s spectrum
	basis := make([]float64, width)
	for cy := range ny {
		for cx := 0; cx*ny < nx*(ny-cy); cx++ {
			for x := range basis {
				basis[x] = math.Cos(math.Pi / float64(width) * float64(cx) * (float64(x) + 0.5))
			}
			sum := 0.0
			for y := range height {
				row := math.Cos(math.Pi / float64(height) * float64(cy) * (float64(y) + 0.5))
				for x, cosine := range basis {
					sum += plane[y*width+x] * cosine * row
				}
			}
			sum /= float64(width * height)
			if cx == 0 && cy == 0 {
				s.mean = sum
				continue
			}
			s.waves = append(s.waves, sum)
			s.scale = max(s.scale, math.Abs(sum))
		}
	}
	if s.scale > 0 {
		for i := range s.waves {
			s.waves[i] = 0.5 + 0.5/s.scale*s.waves[i]
		}
	}
	return s
}

// roundHalfUp rounds as the reference does, which is in JavaScript.
func roundHalfUp(x float64) int { return int(math.Floor(x + 0.5)) }

func bit(set bool) uint32 {
	if set {
		return 1
	}
	return 0
}
