package media

// #cgo pkg-config: vips
// #cgo CFLAGS: -std=gnu11
// #include <stdlib.h>
// #include "vips.h"
import "C"

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// startVips makes libvips ready. Only workers call it.
func startVips() error {
	if C.media_vips_start() != 0 {
		return vipsError()
	}
	return nil
}

// dieOf lets a signal end the process, where the Go runtime would ignore it.
func dieOf(signal syscall.Signal) { C.media_die_of(C.int(signal)) }

// vipsError takes the words of libvips about its last failure.
func vipsError() error {
	text := strings.TrimSpace(C.GoString(C.vips_error_buffer()))
	C.vips_error_clear()
	if text == "" {
		text = "libvips gave no reason"
	}
	return errors.New(text)
}

// clearVips forgets what libvips noted of failures that did not matter.
func clearVips() { C.vips_error_clear() }

// header is what the headers of an image say.
type header struct {
	width, height int // as stored, before orientation
	orientation   int // EXIF, 1 to 8
	alpha         bool
	pages         int
}

// encoded is a file that libvips can read: at path, or in data where that is set.
type encoded struct {
	path string
	data []byte
	// orientation replaces what the file itself says; 0: does not.
	orientation int
	// profile tells that a colour profile is embedded; header sets it.
	profile bool
	// lenient draws what is there of a truncated file.
	lenient bool
}

// open gives a source and the function that frees it.
func (e *encoded) open() (*C.VipsSource, func(), error) {
	if e.data != nil {
		if len(e.data) == 0 {
			return nil, nil, errors.New("no data")
		}
		var pin runtime.Pinner
		start := unsafe.SliceData(e.data)
		pin.Pin(start)
		source := C.media_source_memory(unsafe.Pointer(start), C.size_t(len(e.data)))
		if source == nil {
			pin.Unpin()
			return nil, nil, vipsError()
		}
		return source, func() { C.g_object_unref(C.gpointer(source)); pin.Unpin() }, nil
	}
	path := C.CString(e.path)
	defer C.free(unsafe.Pointer(path))
	source := C.media_source_file(path)
	if source == nil {
		return nil, nil, vipsError()
	}
	return source, func() { C.g_object_unref(C.gpointer(source)) }, nil
}

func (e *encoded) header() (header, error) {
	source, free, err := e.open()
	if err != nil {
		return header{}, err
	}
	defer free()
	var h C.MediaHeader
	if C.media_header(source, &h) != 0 {
		return header{}, vipsError()
	}
	result := header{width: int(h.width), height: int(h.height), orientation: int(h.orientation),
		alpha: h.alpha != 0, pages: int(h.pages)}
	e.profile = h.profile != 0
	if e.orientation != 0 {
		result.orientation = e.orientation
	}
	return result, nil
}

// raster is decoded pixels, or the promise to decode them row by row.
type raster struct {
	c    *C.VipsImage
	free func() // what the pixels come from
}

func (i *raster) close() {
	if i == nil {
		return
	}
	C.g_object_unref(C.gpointer(i.c))
	if i.free != nil {
		i.free()
	}
}

func (i *raster) width() int  { return int(i.c.Xsize) }
func (i *raster) height() int { return int(i.c.Ysize) }

// bytes is the size of the pixels in memory.
func (i *raster) bytes() int64 { return int64(i.c.Xsize) * int64(i.c.Ysize) * int64(i.c.Bands) }

// shrink decodes so that neither side exceeds edge, upright and in sRGB. A colour
// profile that cannot be used is ignored, as browsers do. header comes first.
func (e *encoded) shrink(edge int) (*raster, error) {
	result, err := e.shrinkWith(edge, e.profile)
	if err != nil && e.profile && strings.Contains(err.Error(), "profile") {
		return e.shrinkWith(edge, false)
	}
	return result, err
}

func (e *encoded) shrinkWith(edge int, profile bool) (*raster, error) {
	source, free, err := e.open()
	if err != nil {
		return nil, err
	}
	result := &raster{free: free}
	if C.media_shrink(source, C.int(edge), C.int(e.orientation), cBool(profile), cBool(e.lenient), &result.c) != 0 {
		free()
		return nil, vipsError()
	}
	return result, nil
}

func cBool(set bool) C.int {
	if set {
		return 1
	}
	return 0
}

// shrink makes a smaller image, or the same where this one is small enough.
func (i *raster) shrink(edge int) (*raster, error) {
	result := &raster{}
	if C.media_shrink_image(i.c, C.int(edge), &result.c) != 0 {
		return nil, vipsError()
	}
	return result, nil
}

// crop cuts out a part, which lies within the image.
func (i *raster) crop(left, top, width, height int) (*raster, error) {
	result := &raster{}
	if C.media_crop(i.c, C.int(left), C.int(top), C.int(width), C.int(height), &result.c) != 0 {
		return nil, vipsError()
	}
	return result, nil
}

// keep decodes all pixels into memory.
func (i *raster) keep() (*raster, error) {
	result := &raster{}
	if C.media_keep(i.c, &result.c) != 0 {
		return nil, vipsError()
	}
	return result, nil
}

// imageOf wraps rows of 8 bit RGB (bands 3) or RGBA (bands 4) without copying.
func imageOf(pixels []byte, width, height, bands int) (*raster, error) {
	if width < 1 || height < 1 || len(pixels) != width*height*bands {
		return nil, errors.New("the pixels do not fill the image")
	}
	var pin runtime.Pinner
	start := unsafe.SliceData(pixels)
	pin.Pin(start)
	c := C.media_pixels(unsafe.Pointer(start), C.size_t(len(pixels)), C.int(width), C.int(height), C.int(bands))
	if c == nil {
		pin.Unpin()
		return nil, vipsError()
	}
	return &raster{c: c, free: pin.Unpin}, nil
}

// save writes a JPEG or, with webp, a WebP without any metadata.
func (i *raster) save(path string, webp bool) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var failed C.int
	if webp {
		failed = C.media_save_webp(i.c, name)
	} else {
		failed = C.media_save_jpeg(i.c, name)
	}
	if failed != 0 {
		return vipsError()
	}
	return nil
}

// rgba copies the pixels as 8 bit RGBA.
func (i *raster) rgba() ([]byte, error) {
	var length C.size_t
	pixels := C.media_rgba(i.c, &length)
	if pixels == nil {
		return nil, vipsError()
	}
	defer C.g_free(C.gpointer(pixels))
	return C.GoBytes(pixels, C.int(length)), nil
}

func (e *encoded) close() {}

// header makes pixels drawable.
func (i *raster) header() (header, error) {
	return header{width: i.width(), height: i.height(), orientation: 1, alpha: i.c.Bands == 4, pages: 1}, nil
}
