package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/blob/s3"
)

// checkLocation checks where blobs are to be; "" means the data folder.
func checkLocation(text string) error {
	if text == "" {
		return nil
	}
	if !s3.IsLocation(text) {
		return errors.New("must begin with s3://; to keep them in another folder, make blobs in the data folder a symbolic link")
	}
	_, err := s3.ParseLocation(text, os.Getenv)
	return err
}

// openBlobs opens the storage of a data folder.
func openBlobs(ctx context.Context, cfg *settings) (blob.Store, error) {
	if cfg.blobs == "" {
		store, err := local.Open(blobFolder(cfg.data))
		if err != nil {
			return nil, explainAccess("use the folder of originals", err)
		}
		return store, nil
	}
	return openS3(ctx, cfg.blobs, filepath.Join(cfg.data, "tmp"))
}

func openS3(ctx context.Context, location, temporary string) (*s3.Store, error) {
	cfg, err := s3.ParseLocation(location, os.Getenv)
	if err != nil {
		return nil, err
	}
	cfg.TempDir = temporary
	return s3.Open(ctx, cfg)
}
