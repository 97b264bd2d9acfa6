package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeClip lets ffmpeg write a clip of half a second.
func makeClip(t *testing.T, path string, arguments ...string) {
	t.Helper()
	runTool(t, "ffmpeg", append(append([]string{"-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.52"}, arguments...), path)...)
}

func readClip(t *testing.T, path string) Facts {
	t.Helper()
	facts, err := ReadVideoFacts(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestReadVideoFacts(t *testing.T) {
	t.Parallel()
	t.Run("stream facts", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "clip.mp4")
		makeClip(t, path, "-c:v", "mpeg4")
		facts := readClip(t, path)
		if facts.Width != 64 || facts.Height != 48 || facts.Frames != 13 || !facts.HasVideoStream || facts.VideoCodec != "mpeg4" ||
			facts.Duration == nil || *facts.Duration != 0.52 || *facts.Metadata.FPS != 25 {
			t.Errorf("got %+v", facts)
		}
		m := facts.Metadata
		if m.RawWidth != nil || m.Orientation != nil || m.OriginalDateTime != nil || m.Latitude != nil {
			t.Errorf("behaviour 7.2: raw size of a video is null; got %+v", m)
		}
	})
	t.Run("a rotated clip has its display size", func(t *testing.T) {
		t.Parallel()
		for degrees, want := range map[string]string{"0": "64x48 upright", "90": "48x64 as 6", "180": "64x48 as 3", "270": "48x64 as 8"} {
			path := filepath.Join(t.TempDir(), "clip.mov")
			makeClip(t, path, "-c:v", "mpeg4")
			runTool(t, "exiftool", "-q", "-overwrite_original", "-Rotation="+degrees, path)
			facts := readClip(t, path)
			got := fmt.Sprintf("%dx%d", facts.Width, facts.Height)
			if o := facts.Metadata.Orientation; o != nil {
				got += fmt.Sprintf(" as %d", *o)
			} else {
				got += " upright"
			}
			if got != want {
				t.Errorf("%s degrees: got %s, want %s", degrees, got, want)
			}
		}
	})
	t.Run("pixels that are not square count as they are shown", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "clip.mkv")
		makeClip(t, path, "-c:v", "mpeg4", "-vf", "setsar=3/2")
		if facts := readClip(t, path); facts.Width != 96 || facts.Height != 48 {
			t.Errorf("got %dx%d", facts.Width, facts.Height)
		}
	})
	t.Run("sound alone is no video", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "sound.mp4")
		runTool(t, "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.5", "-c:a", "aac", path)
		if facts := readClip(t, path); facts.HasVideoStream || facts.Width != 0 || facts.Duration == nil {
			t.Errorf("got %+v", facts)
		}
	})
	t.Run("names that ffmpeg would take for something else", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		plain := filepath.Join(folder, "plain.mp4")
		makeClip(t, plain, "-c:v", "mpeg4")
		data, err := os.ReadFile(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"-i.mp4", "concat:a|b.mp4", "%03d.mp4", "http:x.mp4", "new\nline.mp4", "quo'te \".mp4", strings.Repeat("n", 240) + ".mp4"} {
			path := filepath.Join(folder, name)
			writeFile(t, path, data)
			if facts := readClip(t, path); facts.Width != 64 {
				t.Errorf("%.20q: got %+v", name, facts)
			}
		}
	})
	t.Run("a playlist opens no other file", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		makeClip(t, filepath.Join(folder, "clip.mp4"), "-c:v", "mpeg4")
		for name, content := range map[string]string{
			"hls.mp4":    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
			"concat.mp4": "ffconcat version 1.0\nfile clip.mp4\n",
			"sdp.mp4":    "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
			"empty.mp4":  "",
			"zeros.mp4":  strings.Repeat("\x00", 4096),
		} {
			path := filepath.Join(folder, name)
			writeFile(t, path, []byte(content))
			if _, err := ReadVideoFacts(t.Context(), path); !errors.Is(err, ErrNotVideo) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
	t.Run("a clip that is cut off", func(t *testing.T) {
		t.Parallel()
		for name, codec := range map[string]string{"clip.mp4": "mpeg4", "clip.mkv": "mpeg4", "clip.webm": "libvpx", "clip.avi": "mpeg4"} {
			path := filepath.Join(t.TempDir(), name)
			makeClip(t, path, "-c:v", codec)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, length := range []int{12, 40, 200, len(data) / 2} {
				writeFile(t, path, data[:length])
				facts, err := ReadVideoFacts(t.Context(), path)
				if err != nil && !errors.Is(err, ErrNotVideo) {
					t.Errorf("%s at %d: %v", name, length, err)
				}
				if err != nil && strings.Contains(err.Error(), path) {
					t.Errorf("%s at %d: the message names the place of the file: %v", name, length, err)
				}
				checkRanges(t, facts.Metadata)
			}
		}
	})
	t.Run("more tags than anybody wants", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "tags.mkv")
		makeClip(t, path, "-c:v", "mpeg4", "-metadata", "description="+strings.Repeat("long ", 20_000))
		if got := len(textOf(readClip(t, path).Metadata.Description)); got > maxText || got < maxText/2 {
			t.Errorf("a description of %d bytes", got)
		}
		var listed []string
		for i := range 14 {
			listed = append(listed, "-metadata", fmt.Sprintf("t%d=%s", i, strings.Repeat("x", 100_000)))
		}
		makeClip(t, path, append([]string{"-c:v", "mpeg4"}, listed...)...)
		if _, err := ReadVideoFacts(t.Context(), path); !errors.Is(err, ErrNotVideo) {
			t.Errorf("1.4 MB of tags: got %v", err)
		}
	})
	t.Run("a missing file", func(t *testing.T) {
		t.Parallel()
		if _, err := ReadVideoFacts(t.Context(), filepath.Join(t.TempDir(), "none.mp4")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "clip.mp4")
		makeClip(t, path, "-c:v", "mpeg4")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ReadVideoFacts(ctx, path); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestVideoTags feeds what real phones write and ffmpeg cannot be made to.
func TestVideoTags(t *testing.T) {
	t.Parallel()
	read := func(tags string, sideData string) Facts {
		t.Helper()
		probe, err := decodeProbe([]byte(`{"streams":[{"codec_type":"video","codec_name":"hevc","width":1920,"height":1080,"avg_frame_rate":"30000/1001","side_data_list":[` + sideData + `]}],"format":{"duration":"1.5","tags":{` + tags + `}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return probe.facts()
	}
	apple := read(`"com.apple.quicktime.creationdate":"2021-07-14T22:30:05+0200","creation_time":"2021-07-14T20:30:06.000000Z","com.apple.quicktime.location.ISO6709":"+48.8584+002.2945+035.000/","com.apple.quicktime.content.identifier":"E2B4A1F7"`, `{"side_data_type":"Display Matrix","rotation":-90}`)
	if got := timeOf(apple.Metadata.OriginalDateTime); got != "2021-07-14T22:30:05+02:00" {
		t.Errorf("the phone's own date: got %s", got)
	}
	if apple.Width != 1080 || *apple.Metadata.Orientation != 6 || textOf(apple.Metadata.LivePhotoCID) != "E2B4A1F7" || *apple.Metadata.Altitude != 35 {
		t.Errorf("got %+v", apple)
	}
	for tags, want := range map[string]string{
		`"creation_time":"2020-01-02T03:04:05.000000Z"`:                            "2020-01-02T03:04:05+00:00",
		`"creation_time":"1904-01-01T00:00:00.000000Z"`:                            "nothing",
		`"creation_time":"1970-01-01T00:00:00.000000Z"`:                            "nothing",
		`"date":"2019","creation_time":"2020-01-02T03:04:05Z"`:                     "2020-01-02T03:04:05+00:00",
		`"date":"2019-05-06T07:08:09-0700","creation_time":"2020-01-02T03:04:05Z"`: "2019-05-06T07:08:09-07:00",
	} {
		if got := timeOf(read(tags, "").Metadata.OriginalDateTime); got != want {
			t.Errorf("%s: got %s, want %s", tags, got, want)
		}
	}
	if got := textOf(read("", `{"side_data_type":"Spherical Mapping","projection":"equirectangular"}`).Metadata.ProjectionType); got != "equirectangular" {
		t.Errorf("projection: got %s", got)
	}
	if m := read(`"location":"+00.0000+000.0000/"`, "").Metadata; m.Latitude != nil {
		t.Error("a location without a fix counts")
	}
	odd := read(`"make":"Caf\u0000\ufffd","model":7,"location":"nowhere"`, `{"side_data_type":"Display Matrix","rotation":1e300}`)
	checkRanges(t, odd.Metadata)
	if odd.Width != 1920 || odd.Metadata.Latitude != nil || odd.Metadata.Model != nil {
		t.Errorf("got %+v", odd)
	}
}
