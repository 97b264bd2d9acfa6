package media

// #include "vips.h"
import "C"

// VipsVersion is the version of libvips that the program runs with.
func VipsVersion() string { return C.GoString(C.vips_version_string()) }
