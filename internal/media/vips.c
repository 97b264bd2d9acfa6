#include <signal.h>

#include "vips.h"

int media_vips_start(void) {
	// Everything else that libvips may have been built with is less tested with
	// hostile input, or runs programs: blocked.
	static const char *loaders[] = {
		"VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadNsgif",
		"VipsForeignLoadWebp", "VipsForeignLoadTiff", "VipsForeignLoadHeif",
		"VipsForeignLoadJxl",
	};

	if (VIPS_INIT("banksia"))
		return -1;
	vips_operation_block_set("VipsForeignLoad", TRUE);
	for (int i = 0; i < VIPS_NUMBER(loaders); i++)
		vips_operation_block_set(loaders[i], FALSE);
	vips_concurrency_set(1);
	vips_cache_set_max(0);
	vips_cache_set_max_mem(0);
	vips_cache_set_max_files(0);
	return 0;
}

void media_die_of(int number) {
	signal(number, SIG_DFL);
}

VipsSource *media_source_file(const char *path) {
	return vips_source_new_from_file(path);
}

VipsSource *media_source_memory(const void *data, size_t length) {
	return vips_source_new_from_memory(data, length);
}

int media_header(VipsSource *source, MediaHeader *header) {
	VipsImage *image = vips_image_new_from_source(source, "", "access", VIPS_ACCESS_SEQUENTIAL, NULL);
	if (!image)
		return -1;
	header->width = vips_image_get_width(image);
	header->height = vips_image_get_page_height(image);
	header->orientation = vips_image_get_orientation(image);
	header->alpha = vips_image_hasalpha(image);
	// vips_image_get_n_pages() takes more than 10000 pages for a mistake.
	header->pages = 1;
	if (vips_image_get_typeof(image, VIPS_META_N_PAGES))
		vips_image_get_int(image, VIPS_META_N_PAGES, &header->pages);
	header->profile = vips_image_get_typeof(image, VIPS_META_ICC_NAME) != 0;
	g_object_unref(image);
	return 0;
}

// to_srgb makes 8 bit sRGB or grey of what vips_thumbnail leaves, which in rare
// cases (scRGB, many bands) is something else.
static int to_srgb(VipsImage *in, VipsImage **out) {
	VipsImage *step = in;
	g_object_ref(step);
	if (step->Type != VIPS_INTERPRETATION_sRGB && step->Type != VIPS_INTERPRETATION_B_W) {
		VipsImage *next;
		VipsInterpretation space = step->Bands < 3 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
		int failed = vips_colourspace(step, &next, space, NULL);
		g_object_unref(step);
		if (failed)
			return -1;
		step = next;
	}
	if (step->Bands > 4) {
		VipsImage *next;
		int failed = vips_extract_band(step, &next, 0, "n", 3, NULL);
		g_object_unref(step);
		if (failed)
			return -1;
		step = next;
	}
	if (step->BandFmt != VIPS_FORMAT_UCHAR) {
		VipsImage *next;
		int failed = vips_cast_uchar(step, &next, NULL);
		g_object_unref(step);
		if (failed)
			return -1;
		step = next;
	}
	*out = step;
	return 0;
}

// upright turns and mirrors by an EXIF orientation.
static int upright(VipsImage *in, int orientation, VipsImage **out) {
	VipsImage *memory, *tagged;
	int failed;

	if (orientation <= 1 || orientation > 8) {
		g_object_ref(in);
		*out = in;
		return 0;
	}
	// Turning reads columns, but a decoder gives rows.
	if (!(memory = vips_image_copy_memory(in)))
		return -1;
	failed = vips_copy(memory, &tagged, NULL);
	g_object_unref(memory);
	if (failed)
		return -1;
	vips_image_set_int(tagged, VIPS_META_ORIENTATION, orientation);
	failed = vips_autorot(tagged, out, NULL);
	g_object_unref(tagged);
	return failed;
}

int media_shrink(VipsSource *source, int edge, int orientation, int profile, int lenient, VipsImage **out) {
	VipsImage *shrunk, *turned;
	// The property fail_on of vips_thumbnail_source has no effect in libvips 8.14.
	const char *options = lenient ? "[fail_on=none]" : "[fail_on=truncated]";
	int failed;

	if (profile)
		failed = vips_thumbnail_source(source, &shrunk, edge, "height", edge, "size", VIPS_SIZE_DOWN,
			"no_rotate", orientation != 0, "option_string", options, "export_profile", "srgb", NULL);
	else
		failed = vips_thumbnail_source(source, &shrunk, edge, "height", edge, "size", VIPS_SIZE_DOWN,
			"no_rotate", orientation != 0, "option_string", options, NULL);
	if (failed)
		return -1;
	failed = upright(shrunk, orientation, &turned);
	g_object_unref(shrunk);
	if (failed)
		return -1;
	failed = to_srgb(turned, out);
	g_object_unref(turned);
	return failed;
}

int media_shrink_image(VipsImage *in, int edge, VipsImage **out) {
	VipsImage *shrunk;
	int failed;

	if (vips_thumbnail_image(in, &shrunk, edge, "height", edge, "size", VIPS_SIZE_DOWN, NULL))
		return -1;
	failed = to_srgb(shrunk, out);
	g_object_unref(shrunk);
	return failed;
}

int media_crop(VipsImage *in, int left, int top, int width, int height, VipsImage **out) {
	return vips_extract_area(in, out, left, top, width, height, NULL);
}

int media_keep(VipsImage *in, VipsImage **out) {
	if (!(*out = vips_image_copy_memory(in)))
		return -1;
	return 0;
}

VipsImage *media_pixels(const void *data, size_t length, int width, int height, int bands) {
	VipsImage *raw, *out;
	int failed;

	if (!(raw = vips_image_new_from_memory(data, length, width, height, bands, VIPS_FORMAT_UCHAR)))
		return NULL;
	failed = vips_copy(raw, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL);
	g_object_unref(raw);
	return failed ? NULL : out;
}

// save_to writes through a target, because libvips would read options out of a
// file name that ends in brackets.
static VipsTarget *save_to(const char *path) {
	return vips_target_new_to_file(path);
}

int media_save_jpeg(VipsImage *in, const char *path) {
	VipsTarget *target;
	VipsImage *opaque;
	int failed;

	if (vips_image_hasalpha(in)) {
		if (vips_flatten(in, &opaque, NULL))
			return -1;
	} else {
		g_object_ref(in);
		opaque = in;
	}
	if (!(target = save_to(path))) {
		g_object_unref(opaque);
		return -1;
	}
	failed = vips_jpegsave_target(opaque, target, "Q", 82, "strip", TRUE, NULL);
	g_object_unref(target);
	g_object_unref(opaque);
	return failed;
}

int media_save_webp(VipsImage *in, const char *path) {
	VipsTarget *target;
	int failed;

	if (!(target = save_to(path)))
		return -1;
	failed = vips_webpsave_target(in, target, "Q", 82, "effort", 2, "strip", TRUE, NULL);
	g_object_unref(target);
	return failed;
}

void *media_rgba(VipsImage *in, size_t *length) {
	VipsImage *colour, *rgba;
	void *pixels;
	int failed;

	if (vips_colourspace(in, &colour, VIPS_INTERPRETATION_sRGB, NULL))
		return NULL;
	if (vips_image_hasalpha(colour)) {
		rgba = colour;
		g_object_ref(rgba);
		failed = 0;
	} else
		failed = vips_addalpha(colour, &rgba, NULL);
	g_object_unref(colour);
	if (failed)
		return NULL;
	VipsImage *bytes;
	failed = vips_cast_uchar(rgba, &bytes, NULL);
	g_object_unref(rgba);
	if (failed)
		return NULL;
	pixels = vips_image_write_to_memory(bytes, length);
	g_object_unref(bytes);
	return pixels;
}
