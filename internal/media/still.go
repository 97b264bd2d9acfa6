package media

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// videoStill decodes one frame: that after a second, which is less often black
// than the first, or the first of a shorter clip.
func (cfg workerConfig) videoStill(ctx context.Context, path string, format Format) (*raster, error) {
	still, err := cfg.frameAt(ctx, path, format, "1")
	if err != nil || still != nil {
		return still, err
	}
	still, err = cfg.frameAt(ctx, path, format, "0")
	if err == nil && still == nil {
		err = corrupt("", "The video has no frame that can be decoded.")
	}
	return still, err
}

// frameAt decodes the first frame at or after a second, upright and with square
// pixels. It gives nil when there is none.
func (cfg workerConfig) frameAt(ctx context.Context, path string, format Format, second string) (*raster, error) {
	demuxer, err := videoDemuxer(path)
	if err != nil {
		return nil, corrupt("", "The content is not %s.", formatTitle(format))
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the video: %w", err)
	}
	command := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-hide_banner", "-nostdin",
		"-threads", "1", "-max_pixels", strconv.FormatInt(min(cfg.MaxPixels, 1<<31-1), 10),
		// A demuxer that ffmpeg guessed could be a playlist that names other files.
		"-protocol_whitelist", "file", "-f", demuxer, "-ss", second, "-i", "file:"+absolute,
		"-map", "0:V:0", "-frames:v", "1", "-filter_threads", "1",
		"-vf", "scale=max(1\\,trunc(iw*sar)):ih,setsar=1",
		"-threads", "1", "-c:v", "ppm", "-f", "image2pipe", "pipe:1")
	command.WaitDelay = time.Second
	output := &boundedBuffer{limit: int(min(cfg.MemoryLimit/2, 3*cfg.MaxPixels) + 64)}
	complaint := &boundedBuffer{limit: maxProbeError, discard: true}
	command.Stdout, command.Stderr = output, complaint
	err = command.Run()
	detail := decoderWords(errors.New(complaint.String()), absolute)
	if output.full {
		return nil, tooLarge(detail, "The frames of the video are too large to be decoded.")
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed && output.Len() == 0 {
		if second != "0" {
			return nil, nil // what is broken later may be whole at the start
		}
		return nil, corrupt(detail, "The video is damaged or of a kind that cannot be decoded.")
	} else if err != nil && !failed {
		return nil, fmt.Errorf("run ffmpeg: %w", err)
	}
	if output.Len() == 0 {
		return nil, nil
	}
	return readPPM(output.Bytes())
}

// readPPM reads the binary portable pixmap that ffmpeg writes: "P6", width,
// height and 255 in decimal, then rows of RGB.
func readPPM(data []byte) (*raster, error) {
	var width, height, depth int
	reader := bufio.NewReader(bytes.NewReader(data[:min(len(data), 64)]))
	if n, err := fmt.Fscanf(reader, "P6\n%d %d\n%d\n", &width, &height, &depth); err != nil || n != 3 || depth != 255 {
		return nil, corrupt("", "The frame of the video cannot be read.")
	}
	size := int64(width) * int64(height) * 3
	if width < 1 || height < 1 || int64(len(data)) < size {
		return nil, corrupt("", "The frame of the video is incomplete.")
	}
	return imageOf(data[int64(len(data))-size:], width, height, 3)
}
