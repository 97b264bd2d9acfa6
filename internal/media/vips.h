// A small C face of libvips: its variadic functions cannot be called from Go.
// Every function returns 0, or -1 with the reason in vips_error_buffer().
#include <vips/vips.h>

typedef struct {
	int width, height; // as stored, before orientation
	int orientation;   // EXIF, 1 to 8
	int alpha;         // boolean
	int pages;         // frames or pages, 1 or more
	int profile;       // boolean: a colour profile is embedded
} MediaHeader;

int media_vips_start(void);

// media_die_of lets a signal end the process, where the Go runtime would ignore it.
void media_die_of(int signal);

// A source reads from a file, or from memory that must outlive it.
VipsSource *media_source_file(const char *path);
VipsSource *media_source_memory(const void *data, size_t length);

int media_header(VipsSource *source, MediaHeader *header);

// media_shrink decodes a source so that neither side exceeds edge, in sRGB or
// grey of 8 bits. orientation 0 follows the orientation in the file; 1 to 8 is
// applied instead of it. profile tells whether to convert from the embedded colour
// profile; without one, libvips would convert from CIELAB and change the colours. lenient draws what is
// there of a truncated file.
int media_shrink(VipsSource *source, int edge, int orientation, int profile, int lenient, VipsImage **out);

// media_shrink_image does the same from an upright image.
int media_shrink_image(VipsImage *in, int edge, VipsImage **out);

// media_crop cuts a part out of an upright image that holds it.
int media_crop(VipsImage *in, int left, int top, int width, int height, VipsImage **out);

// media_keep decodes all pixels into memory.
int media_keep(VipsImage *in, VipsImage **out);

// media_pixels wraps rows of 8 bit RGB or RGBA that must outlive the image.
VipsImage *media_pixels(const void *data, size_t length, int width, int height, int bands);

int media_save_jpeg(VipsImage *in, const char *path);
int media_save_webp(VipsImage *in, const char *path);

// media_rgba gives 8 bit RGBA that g_free frees.
void *media_rgba(VipsImage *in, size_t *length);
