package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
	"github.com/banksia-photos/banksia/internal/telemetry"
)

// settings is what the operator may say about the server.
type settings struct {
	listen         string
	metricsListen  string // "": no metrics
	data           string
	databaseURL    string // "": the database is a file in the data folder
	blobs          string // "": the folder blobs in the data folder
	redirectMedia  bool
	role           string // roleAll, roleAPI or roleWorker
	config         string
	publicURL      string
	trustForwarded bool
	logFormat      string
	logLevel       slog.Level
	grace          time.Duration
	drain          time.Duration
	retentionDays  int // 0: for ever
	rateLimit      int // units a minute; 0: any number
	login          auth.LoginConfig
	media          media.Config
	task           task.Config
}

// What a server does of the work of several on one PostgreSQL database.
const (
	roleAll    = "all"
	roleAPI    = "api"    // answers requests, and draws what they ask for
	roleWorker = "worker" // runs tasks and maintenance
)

func defaultSettings() *settings {
	return &settings{
		role: roleAll, listen: "127.0.0.1:8000", data: "data", logFormat: "text",
		retentionDays: 90,              // behaviour 8.7
		grace:         8 * time.Second, // container runtimes kill after 10 s
		media:         media.DefaultConfig(), task: task.DefaultConfig(),
	}
}

// addFlags names every setting. Its variable is BANKSIA_ and the name in capitals.
func (s *settings) addFlags(set *flag.FlagSet) {
	s.addDataFlags(set)
	s.addListenFlag(set)
	config.Text(set, &s.publicURL, "public-url", "`URL` under which clients reach the server, such as https://photos.example.org; links to photos begin with it. When not given, they begin with the address that each request was sent to", config.Origin)
	config.Switch(set, &s.redirectMedia, "redirect-media", "with S3, send clients of large originals there by a URL that works for some hours, instead of passing the bytes through; clients must be able to reach it, see public-endpoint in docs/storage.md")
	config.Switch(set, &s.trustForwarded, "trust-forwarded", "take the address that a request was sent to from X-Forwarded-Proto and X-Forwarded-Host, and whom it comes from out of X-Forwarded-For; only behind a reverse proxy that sets the first two and appends to the third")
	config.Choice(set, &s.role, "role", "`PART` of the work that this server does, of several on one PostgreSQL database: api answers requests, worker runs tasks and maintenance and answers nothing but /healthz and /readyz, all does both", roleAll, roleAPI, roleWorker)
	config.Duration(set, &s.task.Lease, "task-lease", "`TIME` after which the tasks of a server that has died are taken up by others on the same PostgreSQL database", time.Second, time.Hour)
	config.Integer(set, &s.media.Workers, "workers", "`NUMBER` of processes that decode photos and videos at once", 1, 1024, 1)
	config.Integer(set, &s.media.MemoryLimit, "worker-memory", "memory in `MEGABYTES` (2^20 bytes) that one decoding process may use", 256, 1<<20, 1<<20)
	config.Duration(set, &s.media.Timeout, "worker-timeout", "`TIME` that decoding one file may take", time.Second, time.Hour)
	config.Integer(set, &s.media.MaxPixels, "max-pixels", "largest `NUMBER` of pixels that is decoded; larger images are kept, without previews", 1, 1<<40, 1)
	config.Integer(set, &s.media.MaxFrames, "max-frames", "largest `NUMBER` of frames of an animation, or pages of a document, that is opened", 1, 1<<30, 1)
	config.Func(set, "redirect-uris", "", "`LIST` of addresses, with commas, that a sign-in may lead back to, beside this computer and the server's own origin", func(text string) error {
		s.login.RedirectURIs = strings.Split(text, ",")
		return nil
	})
	config.Text(set, &s.login.Issuer, "oidc-issuer", "`URL` of an OpenID Connect issuer that signs people in. When not given, the server has a page for that", config.Origin)
	config.Text(set, &s.login.ClientID, "oidc-client-id", "`NAME` of this server at the issuer", nil)
	config.Text(set, &s.login.ClientSecret, "oidc-client-secret", "`SECRET` of this server at the issuer; better in the file or the environment than on the command line", nil)
	config.Switch(set, &s.login.CloseDoor, "oidc-known-users-only", "let nobody in whom banksia users add has not made known, by the address, before")
	config.Integer(set, &s.rateLimit, "rate-limit", "`NUMBER` of units that a user may use up in a minute; most requests are one unit, uploads and searches are five. 0: any number", 0, 1<<30, 1)
	config.Integer(set, &s.retentionDays, "trash-retention-days", "`NUMBER` of days after which what is in the trash is deleted for good; 0 keeps it for ever", 0, 36500, 1)
	config.Duration(set, &s.grace, "grace", "`TIME` that uploads and tasks under way have to finish when the server is told to stop", 0, time.Hour)
	config.Duration(set, &s.drain, "drain", "`TIME` for which /readyz says that the server is stopping before it stops; for a load balancer to notice, when there are other servers", 0, 10*time.Minute)
	config.Text(set, &s.metricsListen, "metrics-listen", "`ADDRESS` to answer Prometheus at, under /metrics, such as 127.0.0.1:9100; nobody is asked for a credential there. When not given, nothing is measured", config.Address)
	config.Choice(set, &s.logFormat, "log-format", "`FORM` of the log on standard error: text or json", "text", "json")
	config.Func(set, "log-level", strings.ToLower(s.logLevel.String()), "least `LEVEL` that is logged: debug, info, warn or error", func(text string) error {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if strings.EqualFold(text, level.String()) {
				s.logLevel = level
				return nil
			}
		}
		return errors.New("must be one of debug, info, warn, error")
	})
}

func (s *settings) addDataFlags(set *flag.FlagSet) {
	s.addFolderFlags(set)
	config.Text(set, &s.databaseURL, "database-url", "`URL` of a PostgreSQL database, postgres://USER:PASSWORD@HOST/NAME, to be used instead of the database in the data folder; better in the file or the environment than on the command line", config.PostgresURL)
	config.Text(set, &s.blobs, "blobs", "`LOCATION` of originals and previews: s3://BUCKET/PREFIX?endpoint=URL&region=NAME for a server that speaks S3. When not given, the folder blobs in the data folder. Keys are found as other S3 programs do, such as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", checkLocation)
}

// addFolderFlags is for commands that need not know where everything is.
func (s *settings) addFolderFlags(set *flag.FlagSet) {
	config.Text(set, &s.data, "data", "`FOLDER` that holds everything: database, originals, previews", config.NotEmpty)
	config.Text(set, &s.config, "config", "`FILE` of lines such as BANKSIA_LISTEN=:8000. When not given, banksia.conf in the data folder is read if it is there", nil)
}

func (s *settings) addListenFlag(set *flag.FlagSet) {
	config.Text(set, &s.listen, "listen", "`ADDRESS` to answer at. 127.0.0.1:8000 is for this computer alone; :8000 answers everybody on the network", config.Address)
}

// fileSettings are the names of all settings, which every command accepts in the
// config file. banksia import reads two of its own.
func fileSettings() (names []string) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	defaultSettings().addFlags(set)
	set.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return append(names, "url", "api-key")
}

// database says where the database is.
func (s *settings) database() store.Config {
	if s.databaseURL != "" {
		return store.Config{URL: s.databaseURL}
	}
	return store.Config{Path: databaseFile(s.data)}
}

// load fills the settings from the command line, the environment and the file, and
// returns the arguments that are no flags. When help was asked for it prints that
// and fails with flag.ErrHelp.
func (s *settings) load(set *flag.FlagSet, help string, args []string, std stdio, private ...string) (rest []string, err error) {
	set.SetOutput(io.Discard) // errors are returned
	set.Usage = func() {}
	rest, err = config.Parse(set, args, config.Sources{
		Getenv: os.Getenv,
		File: func() (string, bool) {
			if s.config != "" {
				return s.config, false
			}
			return filepath.Join(s.data, "banksia.conf"), true
		},
		Private: private,
		Others:  fileSettings(),
	})
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, help, "\nFlags:\n")
		config.Help(std.out, set, private...)
		return nil, err
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; run this as the user that the server runs as, or as root", err)
	}
	if err != nil {
		return nil, &usageError{set.Name(), err}
	}
	s.task.Workers = 2 * s.media.Workers
	return rest, nil
}

// loadAll is load for commands without arguments of their own.
func (s *settings) loadAll(set *flag.FlagSet, help string, args []string, std stdio) error {
	rest, err := s.load(set, help, args, std)
	if err == nil && len(rest) > 0 {
		err = &usageError{set.Name(), fmt.Errorf("unexpected argument %q", rest[0])}
	}
	return err
}

// logger writes to standard error.
func (s *settings) logger(std stdio) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	var handler slog.Handler = slog.NewTextHandler(std.err, options)
	if s.logFormat == "json" {
		handler = slog.NewJSONHandler(std.err, options)
	}
	return slog.New(telemetry.LogHandler(handler))
}
