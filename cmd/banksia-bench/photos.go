package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// photos draws JPEG files with the size and the detail of camera photos: smooth
// shapes under fine noise, so that neither decoding nor encoding is cheap.
func photos(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("photos", flag.ExitOnError)
	to := flags.String("to", "", "folder to write to")
	count := flags.Int("count", 40, "how many photos")
	flags.Parse(args)
	if *to == "" {
		return fmt.Errorf("--to is missing")
	}
	if err := os.MkdirAll(*to, 0o755); err != nil {
		return err
	}
	const width, height = 4032, 3024
	picture := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for n := range *count {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(uint64(n), 1))
		fx, fy, phase := 0.001+r.Float64()*0.01, 0.001+r.Float64()*0.01, r.Float64()*6
		for y := range height {
			for x := range width {
				wave := math.Sin(float64(x)*fx+phase) * math.Cos(float64(y)*fy)
				picture.Y[picture.YOffset(x, y)] = uint8(128 + 90*wave + r.Float64()*14)
			}
		}
		for i := range picture.Cb {
			c := color.YCbCr{Cb: uint8(128 + 40*math.Sin(float64(i)*fx/4)), Cr: uint8(128 + 40*math.Cos(float64(i)*fy/4))}
			picture.Cb[i], picture.Cr[i] = c.Cb, c.Cr
		}
		if err := writeJPEG(filepath.Join(*to, fmt.Sprintf("photo-%04d.jpg", n)), picture); err != nil {
			return err
		}
	}
	return nil
}

func writeJPEG(path string, picture image.Image) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffer := bufio.NewWriter(file)
	if err := jpeg.Encode(buffer, picture, &jpeg.Options{Quality: 92}); err != nil {
		return err
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	return file.Close()
}
