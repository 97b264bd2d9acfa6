package api

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/derive"
)

// urls makes media URLs at the origin that a request was sent to (behaviour
// 7.27).
type urls struct {
	origin string
	expiry int64
	query  string
	sign   func(banksia.VersionID, banksia.VariantName, int64) string
}

func (s *Server) urls(r *http.Request) urls {
	expiry := s.signer.Expiry(r.Context())
	return urls{origin: s.origin(r), expiry: expiry, query: "?expires=" + strconv.FormatInt(expiry, 10) + "&signature=", sign: s.signer.Sign}
}

// Variant implements wire.URLs. The last part of the path gives downloads and
// caches a name; it is not signed.
func (u urls) Variant(version banksia.VersionID, variant banksia.VariantName) string {
	return u.origin + "/media/" + version.String() + "/" + string(variant) + "/" + string(variant) + u.query + u.sign(version, variant, u.expiry)
}

// origin is the configured one, or what the client used to get here.
func (s *Server) origin(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimRight(s.cfg.PublicURL, "/")
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if s.cfg.TrustForwarded {
		if proto := forwarded(r, "X-Forwarded-Proto"); proto == "http" || proto == "https" {
			scheme = proto
		}
		if name := forwarded(r, "X-Forwarded-Host"); name != "" {
			host = name
		}
	}
	if !validHost(host) {
		host = "localhost"
	}
	return scheme + "://" + host
}

// forwarded is what the proxy next to the client says, in a list that each proxy
// may have extended.
func forwarded(r *http.Request, header string) string {
	first, _, _ := strings.Cut(r.Header.Get(header), ",")
	return strings.TrimSpace(first)
}

// validHost tells whether a host, with or without a port, can begin a URL.
func validHost(host string) bool {
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._:[]", c) >= 0) {
			return false
		}
	}
	u, err := url.Parse("http://" + host)
	return err == nil && u.Hostname() != ""
}

// media is GET /media/{version}/{variant}/{name}: the bytes of a signed URL, with
// or without a credential (behaviour 7.23, 7.24).
func (s *Server) media(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	id, err := banksia.ParseID[banksia.VersionID](r.PathValue("version"))
	if err != nil {
		return banksia.NotFound("Version")
	}
	variant := banksia.VariantName(r.PathValue("variant"))
	query := r.URL.Query()
	if err := s.signer.Check(r.Context(), id, variant, query.Get("expires"), query.Get("signature")); err != nil {
		return err
	}
	// Neither what was purged, nor what a library in the trash hides.
	shown, err := s.store.ShowsVersion(r.Context(), id)
	if err != nil {
		return err
	}
	if !shown {
		return banksia.NotFound("Version")
	}
	if face, err := banksia.ParseID[banksia.FaceID](string(variant)); err == nil {
		return s.serveFace(w, r, face, immutable)
	}
	version, asset, err := s.store.GetVersion(r.Context(), id)
	if err != nil {
		return err
	}
	if s.cfg.RedirectMedia && variant == banksia.VariantOriginal && version.SizeBytes >= redirectFrom {
		if redirected, err := s.redirectOriginal(w, r, &version, &asset); redirected || err != nil {
			return err
		}
	}
	w.Header().Set("Cache-Control", immutable)
	return s.serveVariant(w, r, &version, &asset, variant)
}

const (
	// redirectFrom is the size from which another request costs a client less than
	// the way through this server costs both.
	redirectFrom = 1 << 20
	// redirectExpiry is how long the storage answers, such as to a player that comes
	// back for more of a film.
	redirectExpiry = 6 * time.Hour
)

// redirectOriginal sends a client to the storage, where that gives out URLs.
// Clients of media follow redirects (behaviour 7.24). Only originals are so large
// that it pays, and only those are attachments, which run nothing at the origin of
// the storage.
func (s *Server) redirectOriginal(w http.ResponseWriter, r *http.Request, v *banksia.Version, a *banksia.Asset) (redirected bool, err error) {
	target, err := s.deriver.OriginalURL(r.Context(), v, blob.PresignOptions{
		Expiry: redirectExpiry, ContentType: v.MIMEType, ContentDisposition: attachment(a.OriginalFileName), CacheControl: immutable,
	})
	if target == "" || err != nil {
		return false, err
	}
	w.Header().Set("Cache-Control", "no-store") // the target does not last as long as the URL
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true, nil
}

// immutable is for signed URLs: another rendering has another one.
const immutable = "private, max-age=604800, immutable"

// serveFace sends the crop of a face, whose existence the caller has checked a
// signature or the scope for (behaviour 12.7).
func (s *Server) serveFace(w http.ResponseWriter, r *http.Request, id banksia.FaceID, caching string) error {
	thumbnail, err := s.store.FaceThumbnail(r.Context(), id)
	if err != nil {
		return err
	}
	reader, info, err := s.deriver.FaceCrop(r.Context(), &thumbnail)
	if errors.Is(err, blob.ErrNotExist) {
		return &banksia.Error{Code: banksia.CodeNotFound, Message: "The file is missing from the storage.", Err: err}
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	w.Header().Set("Cache-Control", caching)
	sendFile(w, r, thumbnail.Version.VariantMIMEType, hex.EncodeToString(id[:]), reader, info)
	return nil
}

// legacyFaceThumbnail is GET /api/faces/{face_id}/thumbnail of older clients.
func (s *Server) legacyFaceThumbnail(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.FaceID](r, "face_id", "Face")
	if err != nil {
		return err
	}
	if _, err := s.store.FaceLibrary(r.Context(), scope, id); err != nil {
		return err
	}
	return s.serveFace(w, r, id, legacyCaching)
}

// serveVariant sends a variant. Whatever an upload holds, it must not run as
// script: the type is the one of a known image or video, is not guessed, and the
// policy allows nothing.
func (s *Server) serveVariant(w http.ResponseWriter, r *http.Request, v *banksia.Version, a *banksia.Asset, variant banksia.VariantName) error {
	mimeType, ok := derive.VariantMIMEType(v, variant)
	if !ok {
		return banksia.NotFound("Variant")
	}
	reader, info, err := s.deriver.Variant(r.Context(), v, variant)
	if errors.Is(err, blob.ErrNotExist) {
		return &banksia.Error{Code: banksia.CodeNotFound, Message: "The file is missing from the storage.", Err: err}
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	if variant == banksia.VariantOriginal {
		w.Header().Set("Content-Disposition", attachment(a.OriginalFileName))
	}
	sendFile(w, r, mimeType, hex.EncodeToString(v.ID[:])+"-"+string(variant), reader, info)
	return nil
}

// maxRanges is how many ranges of a file one request gets. Each is a read of the
// storage, of one in S3 a request, and a part of the answer with headers of its own.
const maxRanges = 16

// sendFile sends what uploads hold, or was drawn from them.
func sendFile(w http.ResponseWriter, r *http.Request, mimeType, tag string, reader blob.Reader, info blob.Info) {
	header := w.Header()
	header.Set("Content-Type", mimeType)
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("ETag", `"`+tag+`"`)
	if strings.Count(strings.Join(r.Header.Values("Range"), ","), ",") >= maxRanges {
		r = r.Clone(r.Context())
		r.Header.Del("Range") // the whole file, as RFC 9110, section 14.2, has it
	}
	http.ServeContent(rangeErrors{w, info.Size}, r, "", info.ModTime, seeker{reader, info.Size})
}

// rangeErrors gives a range that cannot be served the envelope of every error,
// where ServeContent would answer in plain text.
type rangeErrors struct {
	http.ResponseWriter
	size int64
}

func (e rangeErrors) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		e.ResponseWriter.WriteHeader(status)
		return
	}
	e.Header().Del("Content-Disposition")
	e.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(e.size, 10))
	write(e.ResponseWriter, status, envelope{"The file has no such range.", "range_not_satisfiable", "The file has no such range."})
}

func (e rangeErrors) Write(p []byte) (int, error) {
	if e.Header().Get("Content-Type") == "application/json" {
		return len(p), nil
	}
	return e.ResponseWriter.Write(p)
}

// seeker spares ServeContent a seek to the end to learn the size.
type seeker struct {
	blob.Reader
	size int64
}

func (s seeker) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd && offset == 0 {
		return s.size, nil
	}
	return s.Reader.Seek(offset, whence)
}

// attachment is a Content-Disposition with a file name (RFC 6266): plain for old
// clients, and in UTF-8 where that differs.
func attachment(name string) string {
	plain := strings.Map(func(r rune) rune {
		// Some clients would decode percent signs.
		if r > unicode.MaxASCII || r < 0x20 || r == '"' || r == '\\' || r == '%' || r == 0x7f {
			return '_'
		}
		return r
	}, name)
	text := `attachment; filename="` + plain + `"`
	if plain != name {
		text += "; filename*=UTF-8''" + strings.ReplaceAll(url.PathEscape(name), "'", "%27")
	}
	return text
}

// legacyCaching is for URLs that name an asset, whose rendering may change.
const legacyCaching = "private, no-cache"

// legacyDownload is GET /api/assets/{asset_id}/download of older clients.
func (s *Server) legacyDownload(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", legacyCaching)
	return s.serveVariant(w, r, &asset.Version, &asset, banksia.VariantOriginal)
}

// legacyThumbnail is GET /api/assets/{asset_id}/thumbnail?size= of older clients:
// the variant of that name, or the thumbnail where there is none.
func (s *Server) legacyThumbnail(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	variant := banksia.VariantName(r.URL.Query().Get("size"))
	if variant != banksia.VariantFullsize && banksia.LongestEdge[variant] == 0 {
		variant = banksia.VariantThumbnail
	}
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", legacyCaching)
	return s.serveVariant(w, r, &asset.Version, &asset, variant)
}
