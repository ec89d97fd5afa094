/* JPEG by libjpeg-turbo and WebP by libwebp, whose one owner this is. Nothing is read with them. */
#include "picture_lossy.h"

#include <errno.h>
#include <turbojpeg.h>
#include <webp/encode.h>

static int too_large(struct err *err, const char *format)
{
	return err_set(err, -EFBIG, "the picture is too large for %s", format);
}

int picture_lossy_jpeg(const struct raster *r, int quality, struct buf *out, struct err *err)
{
	int layout = r->channels == 4 ? TJPF_RGBX : TJPF_RGB, code = 0;
	tjhandle t;
	unsigned char *file = NULL;
	unsigned long n = 0;

	if (r->width > JPEG_EDGE_MAX || r->height > JPEG_EDGE_MAX)
		return too_large(err, "JPEG");
	t = tjInitCompress();
	if (!t)
		return err_set(err, -ENOMEM, "libjpeg-turbo cannot start");
	if (tjCompress2(t, r->pixels, (int)r->width, 0, (int)r->height, layout, &file, &n,
		    TJSAMP_420, quality > 0 ? quality : 1, 0) < 0)
		code = err_set(err, -EIO, "cannot write JPEG: %s", tjGetErrorStr2(t));
	else if (!buf_add(out, file, n))
		code = too_large(err, "JPEG");
	tjFree(file);
	tjDestroy(t);
	return code;
}

static int webp_take(const uint8_t *data, size_t n, const WebPPicture *p)
{
	return buf_add(p->custom_ptr, data, n);
}

int picture_lossy_webp(
	const struct raster *r, int quality, int method, struct buf *out, struct err *err)
{
	WebPConfig config;
	WebPPicture p;
	int ok, stride = (int)raster_stride(r);

	if (r->width > WEBP_EDGE_MAX || r->height > WEBP_EDGE_MAX)
		return too_large(err, "WebP");
	if (!WebPConfigPreset(&config, WEBP_PRESET_DEFAULT, (float)quality) || !WebPPictureInit(&p))
		return err_set(err, -EIO, "libwebp cannot start");
	config.method = method;
	p.width = (int)r->width;
	p.height = (int)r->height;
	p.writer = webp_take;
	p.custom_ptr = out;
	ok = r->channels == 4 ? WebPPictureImportRGBA(&p, r->pixels, stride)
			      : WebPPictureImportRGB(&p, r->pixels, stride);
	ok = ok && WebPEncode(&config, &p);
	WebPPictureFree(&p);
	if (!ok)
		return err_set(err, out->full ? -EFBIG : -EIO, "cannot write WebP: error %d",
			(int)p.error_code);
	return 0;
}
