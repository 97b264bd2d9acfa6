package media

import (
	"fmt"
	"os"

	"github.com/banksia-photos/banksia"
)

// Facts is what the headers of a file say, before anything is drawn.
type Facts struct {
	// Width and Height are pixels in display space, after orientation; 0: unknown.
	Width, Height int
	// Duration is seconds; nil for stills and where the file does not say.
	Duration *float64
	// Frames is how many frames the file says it has; 0: unknown.
	Frames int
	// HasVideoStream tells a clip from a file that holds only sound or a cover picture.
	HasVideoStream bool
	// VideoCodec is ffmpeg's name of the codec of the video stream, "" for stills.
	VideoCodec string
	// Metadata leaves AssetID, CreatedAt and UpdatedAt unset.
	Metadata banksia.Metadata
}

// readImageMetadata reads what the file at path says of itself.
func readImageMetadata(path string, format Format) (banksia.Metadata, error) {
	file, err := os.Open(path)
	if err != nil {
		return banksia.Metadata{}, fmt.Errorf("read metadata: %w", err)
	}
	defer file.Close()
	return banksia.Metadata{}, nil
}
