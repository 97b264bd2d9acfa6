package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// Limits of one ffprobe run.
const (
	probeTimeout   = 30 * time.Second
	maxProbeOutput = 1 << 20 // bytes of JSON; a clip with ten streams gives 20 KiB
	maxProbeError  = 4 << 10
)

// ErrNotVideo tells that ffprobe found no container it may read.
var ErrNotVideo = errors.New("not a readable video")

// ReadVideoFacts asks ffprobe what the container at path says of the clip in it.
// The error wraps ErrNotVideo where the content is not a known video container
// or ffprobe cannot make sense of it, and the context's error after its deadline
// (at most 30 seconds).
func ReadVideoFacts(ctx context.Context, path string) (Facts, error) {
	demuxer, err := videoDemuxer(path)
	if err != nil {
		return Facts{}, fmt.Errorf("read video metadata: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	output, err := runProbe(ctx, demuxer, path)
	if err != nil {
		return Facts{}, fmt.Errorf("read video metadata: %w", err)
	}
	probe, err := decodeProbe(output)
	if err != nil {
		return Facts{}, fmt.Errorf("read video metadata: %w", err)
	}
	return probe.facts(), nil
}

func decodeProbe(output []byte) (*probeResult, error) {
	var probe probeResult
	if err := json.Unmarshal(output, &probe); err != nil {
		return nil, fmt.Errorf("decode ffprobe output: %w", err)
	}
	return &probe, nil
}

// videoDemuxer picks ffmpeg's demuxer by the first bytes of the file, because a
// demuxer that ffmpeg guessed could be a playlist that names other files.
func videoDemuxer(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, SniffLength)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	switch sniffFamily(head[:n]) {
	case "isobmff-video":
		return "mov", nil
	case "matroska":
		return "matroska", nil
	case "avi":
		return "avi", nil
	}
	return "", ErrNotVideo
}

func runProbe(ctx context.Context, demuxer, path string) ([]byte, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-hide_banner",
		"-protocol_whitelist", "file", "-f", demuxer,
		"-print_format", "json", "-show_format", "-show_streams",
		"-i", "file:"+absolute)
	command.WaitDelay = time.Second
	output := &boundedBuffer{limit: maxProbeOutput}
	complaint := &boundedBuffer{limit: maxProbeError, discard: true}
	command.Stdout, command.Stderr = output, complaint
	err = command.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("ffprobe: %w", ctx.Err())
	case output.full:
		return nil, fmt.Errorf("%w: more than %d bytes of metadata", ErrNotVideo, maxProbeOutput)
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		message := strings.ReplaceAll(cleanText(complaint.Bytes()), "file:"+absolute+": ", "")
		return nil, fmt.Errorf("%w: ffprobe: %s: %s", ErrNotVideo, failed, message)
	}
	if err != nil {
		return nil, fmt.Errorf("run ffprobe: %w", err)
	}
	return output.Bytes(), nil
}

// boundedBuffer keeps the first limit bytes. Past them it fails the writer, or
// drops the rest with discard. The buffer is not embedded, because its ReadFrom
// would pass by the limit.
type boundedBuffer struct {
	kept    bytes.Buffer
	limit   int
	discard bool
	full    bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	if len(p) <= room {
		return b.kept.Write(p)
	}
	b.full = true
	b.kept.Write(p[:room])
	if b.discard {
		return len(p), nil
	}
	return room, io.ErrShortWrite
}

func (b *boundedBuffer) Bytes() []byte  { return b.kept.Bytes() }
func (b *boundedBuffer) String() string { return b.kept.String() }
func (b *boundedBuffer) Len() int       { return b.kept.Len() }

// probeResult is the part of ffprobe's JSON that is read.
type probeResult struct {
	Streams []probeStream `json:"streams"`
	Format  struct {
		Duration string   `json:"duration"`
		Tags     tagTable `json:"tags"`
	} `json:"format"`
}

type probeStream struct {
	CodecType    string   `json:"codec_type"`
	CodecName    string   `json:"codec_name"`
	PixelAspect  string   `json:"sample_aspect_ratio"` // width:height
	Width        int      `json:"width"`
	Height       int      `json:"height"`
	AverageRate  string   `json:"avg_frame_rate"`
	NominalRate  string   `json:"r_frame_rate"`
	Duration     string   `json:"duration"`
	Frames       string   `json:"nb_frames"`
	Tags         tagTable `json:"tags"`
	Dispositions struct {
		AttachedPicture int `json:"attached_pic"`
	} `json:"disposition"`
	SideData []struct {
		Type       string  `json:"side_data_type"`
		Rotation   float64 `json:"rotation"`
		Projection string  `json:"projection"`
	} `json:"side_data_list"`
}

// tagTable holds container tags by lower-case name: Matroska writes capitals.
type tagTable map[string]string

func (t *tagTable) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*t = make(tagTable, len(raw))
	for name, value := range raw {
		var text string
		if json.Unmarshal(value, &text) == nil {
			if text = cleanString(text); text != "" {
				(*t)[strings.ToLower(name)] = text
			}
		}
	}
	return nil
}

func (p *probeResult) facts() Facts {
	var facts Facts
	tags := []tagTable{p.Format.Tags}
	var video *probeStream
	for i := range p.Streams {
		if s := &p.Streams[i]; video == nil && s.CodecType == "video" && s.Dispositions.AttachedPicture == 0 {
			video = s
			tags = append(tags, s.Tags)
		}
	}
	for _, s := range p.Streams {
		if s.CodecType != "video" {
			tags = append(tags, s.Tags)
		}
	}
	first := func(names ...string) *string {
		for _, name := range names {
			for _, table := range tags {
				if value, ok := table[name]; ok {
					return &value
				}
			}
		}
		return nil
	}

	facts.Duration = positive(p.Format.Duration)
	meta := &facts.Metadata
	if video != nil {
		facts.HasVideoStream, facts.VideoCodec = true, video.CodecName
		if facts.Duration == nil {
			facts.Duration = positive(video.Duration)
		}
		if frames, err := strconv.Atoi(video.Frames); err == nil && frames > 0 {
			facts.Frames = frames
		}
		meta.FPS = parseRate(video.AverageRate)
		if meta.FPS == nil {
			meta.FPS = parseRate(video.NominalRate)
		}
		facts.Width, facts.Height = video.displaySize()
		if orientation := video.orientation(); orientation != 1 {
			meta.Orientation = &orientation
		}
		for _, side := range video.SideData {
			if side.Type == "Spherical Mapping" && side.Projection != "" {
				meta.ProjectionType = &side.Projection
			}
		}
	}

	meta.Make = first("com.apple.quicktime.make", "com.android.manufacturer", "make", "manufacturer")
	meta.Model = first("com.apple.quicktime.model", "com.android.model", "model")
	meta.LensModel = first("com.apple.quicktime.camera.lens_model")
	meta.LivePhotoCID = first("com.apple.quicktime.content.identifier")
	meta.Description = first("com.apple.quicktime.description", "description", "com.apple.quicktime.comment", "comment", "synopsis")
	if location := first("com.apple.quicktime.location.iso6709", "location", "location-eng"); location != nil {
		meta.Latitude, meta.Longitude, meta.Altitude = parseISO6709(*location)
		if meta.Latitude != nil && *meta.Latitude == 0 && *meta.Longitude == 0 { // no fix
			meta.Latitude, meta.Longitude, meta.Altitude = nil, nil, nil
		}
	}
	meta.OriginalDateTime = videoTime(first)
	return facts
}

// videoTime prefers the tags that hold the wall clock and its offset. The
// container's own creation_time is UTC by the standards, so there the wall clock
// is not known and offset 0 says so.
func videoTime(first func(...string) *string) *banksia.LocalTime {
	for _, name := range []string{"com.apple.quicktime.creationdate", "date_recorded", "date", "creation_time"} {
		value := first(name)
		if value == nil {
			continue
		}
		t, ok := parseDateTime(*value)
		if ok && !isContainerEpoch(t) {
			return &t
		}
	}
	return nil
}

// isContainerEpoch finds a creation time that was never set: MP4 counts from
// 1904, and ffmpeg's default and many cameras' clocks start at 1970.
func isContainerEpoch(t banksia.LocalTime) bool {
	day := time.UnixMicro(t.Instant()).UTC().Format(time.DateOnly)
	return day == "1904-01-01" || day == "1970-01-01"
}

// orientation translates the display matrix into the EXIF value of the same
// turn. ffprobe counts degrees counterclockwise.
func (s *probeStream) orientation() int {
	degrees := 0.0
	for _, side := range s.SideData {
		if side.Type == "Display Matrix" {
			degrees = -side.Rotation
		}
	}
	if degrees == 0 {
		degrees, _ = strconv.ParseFloat(s.Tags["rotate"], 64) // ffmpeg before version 5
	}
	if math.IsNaN(degrees) || math.Abs(degrees) > 3600 {
		return 1
	}
	return [4]int{1, 6, 3, 8}[((int(math.Round(degrees/90))%4)+4)%4]
}

// displaySize is the size with square pixels, upright.
func (s *probeStream) displaySize() (width, height int) {
	width, height = max(s.Width, 0), max(s.Height, 0)
	over, under, _ := strings.Cut(s.PixelAspect, ":")
	if x, y := positive(over), positive(under); x != nil && y != nil && width > 0 {
		const widest = 1 << 20
		width = int(min(max(1, float64(width)**x / *y), widest))
	}
	if o := s.orientation(); o == 6 || o == 8 {
		width, height = height, width
	}
	return width, height
}

func positive(text string) *float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || value <= 0 {
		return nil
	}
	return &value
}

// parseRate reads ffprobe's fraction of frames per second.
func parseRate(text string) *float64 {
	over, under, found := strings.Cut(text, "/")
	numerator, denominator := positive(over), positive(under)
	if !found || numerator == nil || denominator == nil {
		return nil
	}
	rate := *numerator / *denominator
	return &rate
}
