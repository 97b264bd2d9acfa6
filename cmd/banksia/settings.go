package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/task"
)

// settings is what the operator may say about the server.
type settings struct {
	listen         string
	data           string
	config         string
	publicURL      string
	trustForwarded bool
	logFormat      string
	logLevel       slog.Level
	workers        int
	media          media.Config
	task           task.Config
}

func defaultSettings() settings {
	mediaConfig := media.DefaultConfig()
	return settings{listen: "localhost:8000", data: "data", logFormat: "text", workers: mediaConfig.Workers, media: mediaConfig, task: task.DefaultConfig()}
}

// addFlags names every setting. Its variable is BANKSIA_ and the name in capitals.
func (s *settings) addFlags(set *flag.FlagSet) {
	set.StringVar(&s.listen, "listen", s.listen, "`address` to serve on; 0.0.0.0:8000 opens it to the network (BANKSIA_LISTEN)")
	set.StringVar(&s.data, "data", s.data, "`folder` of the database and the files (BANKSIA_DATA)")
	set.StringVar(&s.config, "config", "", "`file` of lines BANKSIA_NAME=value; default banksia.conf in the data folder, if there (BANKSIA_CONFIG)")
	set.StringVar(&s.publicURL, "public-url", "", "`URL` under which clients reach the server, if not the one they call (BANKSIA_PUBLIC_URL)")
	set.BoolVar(&s.trustForwarded, "trust-forwarded", false, "believe X-Forwarded-Proto and -Host; only behind a reverse proxy that sets them (BANKSIA_TRUST_FORWARDED)")
	set.StringVar(&s.logFormat, "log-format", s.logFormat, "text or json (BANKSIA_LOG_FORMAT)")
	set.TextVar(&s.logLevel, "log-level", &s.logLevel, "debug, info, warn or error (BANKSIA_LOG_LEVEL)")
	set.IntVar(&s.workers, "workers", s.workers, "processes that decode photos and videos at once (BANKSIA_WORKERS)")
	set.Int64Var(&s.media.MaxPixels, "max-pixels", s.media.MaxPixels, "largest width times height that is decoded (BANKSIA_MAX_PIXELS)")
	set.Int64Var(&s.media.MemoryLimit, "worker-memory", s.media.MemoryLimit, "memory in bytes that one decoding process may use (BANKSIA_WORKER_MEMORY)")
	set.DurationVar(&s.media.Timeout, "worker-timeout", s.media.Timeout, "time that decoding one file may take (BANKSIA_WORKER_TIMEOUT)")
}

// parse reads flags, environment and file.
func (s *settings) parse(set *flag.FlagSet, args []string) error {
	err := config.Parse(set, args, os.Getenv, func() (string, bool) {
		if s.config != "" {
			return s.config, false
		}
		return filepath.Join(s.data, "banksia.conf"), true
	})
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	return s.validate()
}

func (s *settings) validate() error {
	s.logFormat = strings.ToLower(s.logFormat)
	if s.logFormat != "text" && s.logFormat != "json" {
		return fmt.Errorf("BANKSIA_LOG_FORMAT must be text or json, got %q; %w", s.logFormat, errUsage)
	}
	if s.workers < 1 || s.workers > 1024 {
		return fmt.Errorf("BANKSIA_WORKERS must be 1 to 1024, got %d; %w", s.workers, errUsage)
	}
	s.media.Workers, s.task.Workers = s.workers, 2*s.workers
	return nil
}

// logger writes to standard error.
func (s *settings) logger(std stdio) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.err, options))
	}
	return slog.New(slog.NewTextHandler(std.err, options))
}
