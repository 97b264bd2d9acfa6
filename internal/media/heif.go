package media

import (
	"encoding/binary"
	"os"
	"strings"
)

// openHEIF opens a HEIF picture (ISO/IEC 23008-12) for libvips. libheif before
// 1.17 refuses a file in which EXIF data describes an item that it does not know,
// as the tone map in photos of newer iPhones is; such a file is read without that
// reference.
func (cfg workerConfig) openHEIF(path string) (*encoded, header, error) {
	source := &encoded{path: path}
	h, err := source.header()
	if err == nil || !strings.Contains(err.Error(), "Metadata not correctly assigned") {
		return source, h, err
	}
	info, statErr := os.Stat(path)
	if statErr != nil || info.Size() > cfg.MemoryLimit/4 {
		return source, h, err
	}
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		return source, h, err
	}
	hideDescriptions(data)
	source = &encoded{data: data}
	h, err = source.header()
	return source, h, err
}

// hideDescriptions renames the references of kind cdsc (content describes) in
// place to a kind that no reader knows.
func hideDescriptions(data []byte) {
	forBoxes(data, func(kind string, _, body []byte) {
		if kind != "meta" || len(body) < 4 {
			return
		}
		forBoxes(body[4:], func(kind string, _, body []byte) { // after version and flags
			if kind != "iref" || len(body) < 4 {
				return
			}
			forBoxes(body[4:], func(kind string, name, _ []byte) {
				if kind == "cdsc" {
					copy(name, "skip")
				}
			})
		})
	})
}

// forBoxes visits the boxes that lie side by side in data: kind is a copy of name.
func forBoxes(data []byte, visit func(kind string, name, body []byte)) {
	for len(data) >= 8 {
		length, start := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		switch {
		case length == 1 && len(data) >= 16:
			length, start = binary.BigEndian.Uint64(data[8:]), 16
		case length == 0:
			length = uint64(len(data))
		}
		if length < start || length > uint64(len(data)) {
			return
		}
		visit(string(data[4:8]), data[4:8], data[start:length])
		data = data[length:]
	}
}
