package s3

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Config says where the blobs are. ParseLocation makes one from a URL.
type Config struct {
	Endpoint string // URL of the server
	Bucket   string
	Prefix   string // of every object: empty, or ends with a slash
	Region   string
	// PathStyle puts the bucket into the path of requests, or into the name of the
	// host; nil: the host for Amazon, the path for others.
	PathStyle *bool
	// Profile of the shared credentials file; empty: the environment decides.
	Profile string
	// AccessKey and SecretKey, where they are not to be found as usual.
	AccessKey string
	SecretKey Secret
	// PublicEndpoint is the URL under which clients reach the server, for redirects;
	// empty: the same.
	PublicEndpoint string

	TempDir  string        // local folder for files on their way
	PartSize int64         // of an upload in parts, in bytes, 5 MiB or more
	Attempts int           // of one request
	Stall    time.Duration // how long a connection may be silent before it counts as lost
	// UploadLimit is how long storing one blob may take, and Grace how old the note
	// of an upload or an unfinished upload in parts must be to be swept. Grace is
	// the longer one by far, so that no node sweeps what another is at work on.
	UploadLimit, Grace time.Duration
}

// Secret is a text that shows nowhere.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "[redacted]" }

// DefaultConfig is Amazon's server, as far as that needs no choice.
func DefaultConfig() Config {
	return Config{
		Endpoint: "https://s3.amazonaws.com", Region: "us-east-1",
		PartSize: 16 << 20, // memory of an upload whose length is not known: two of these
		Attempts: 3, Stall: 30 * time.Second,
		UploadLimit: 6 * time.Hour, Grace: 24 * time.Hour,
	}
}

// IsLocation tells whether a text means an S3 server.
func IsLocation(text string) bool { return strings.HasPrefix(text, "s3://") }

// ParseLocation reads s3://BUCKET/PREFIX?endpoint=URL&region=NAME&path-style=BOOL&
// profile=NAME&public-endpoint=URL, of which all but the bucket may be absent. What
// is absent is taken from the variables that other programs use: AWS_REGION,
// AWS_ENDPOINT_URL_S3 and the like; getenv reads one.
func ParseLocation(text string, getenv func(string) string) (Config, error) {
	cfg := DefaultConfig()
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Fragment != "" {
		return cfg, errors.New("must be a URL such as s3://bucket/prefix?endpoint=https://s3.example.org")
	}
	if u.User != nil {
		return cfg, errors.New("must not hold keys; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return cfg, fmt.Errorf("must be a URL: %w", err)
	}
	cfg.Bucket = u.Host
	if cfg.Prefix = strings.Trim(u.Path, "/"); cfg.Prefix != "" {
		cfg.Prefix += "/"
	}
	cfg.Endpoint = cmp.Or(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL"), cfg.Endpoint)
	cfg.Region = cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), cfg.Region)
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "endpoint":
			cfg.Endpoint = value
		case "public-endpoint":
			cfg.PublicEndpoint = value
		case "region":
			cfg.Region = value
		case "profile":
			cfg.Profile = value
		case "path-style":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return cfg, errors.New("path-style must be true or false")
			}
			cfg.PathStyle = &on
		default:
			return cfg, fmt.Errorf("%q is not known; there are endpoint, public-endpoint, region, path-style and profile", name)
		}
	}
	return cfg, cfg.validateLocation()
}

// bucketName is what servers take; case and dots are theirs to judge.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)

func (c Config) validateLocation() error {
	for name, text := range map[string]string{"endpoint": c.Endpoint, "public-endpoint": c.PublicEndpoint} {
		if name == "public-endpoint" && text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("%s must be a URL such as https://s3.example.org, without a path", name)
		}
	}
	if !bucketName.MatchString(c.Bucket) {
		return fmt.Errorf("%q is not the name of a bucket", c.Bucket)
	}
	if c.Prefix != "" {
		if err := blob.CheckKey(blob.Key(strings.TrimSuffix(c.Prefix, "/"))); err != nil {
			return errors.New("the prefix may hold letters, digits, '.', '_', '-' and single slashes")
		}
	}
	return nil
}

// Validate checks the settings.
func (c Config) Validate() error {
	switch {
	case c.TempDir == "":
		return errors.New("setting TempDir must be set")
	case c.PartSize < 5<<20 || c.PartSize > 5<<30: // limits of the protocol
		return errors.New("setting PartSize must be from 5 MiB to 5 GiB")
	case c.Attempts < 1 || c.Stall <= 0 || c.UploadLimit <= 0 || c.Grace < 0:
		return errors.New("settings Attempts, Stall, UploadLimit and Grace must be positive")
	}
	return c.validateLocation()
}

// String is the location without secrets.
func (c Config) String() string {
	return "s3://" + c.Bucket + "/" + c.Prefix + " at " + c.Endpoint
}

// credentials are looked for where other programs look: in the environment, in the
// file of shared credentials, and at the service that gives them to the machine.
func (c Config) credentials(transport http.RoundTripper, getenv func(string) string) *credentials.Credentials {
	if c.AccessKey != "" {
		return credentials.NewStaticV4(c.AccessKey, string(c.SecretKey), "")
	}
	file := &credentials.FileAWSCredentials{Profile: c.Profile}
	if c.Profile != "" {
		return credentials.New(file)
	}
	providers := []credentials.Provider{&credentials.EnvAWS{}, file}
	if disabled, _ := strconv.ParseBool(getenv("AWS_EC2_METADATA_DISABLED")); !disabled || getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		providers = append(providers, &credentials.IAM{Client: &http.Client{Transport: transport, Timeout: 5 * time.Second}})
	}
	return credentials.NewChainCredentials(providers)
}
