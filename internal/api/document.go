package api

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Document is the OpenAPI document, which is also the contract's.
//
//go:embed openapi.yaml
var Document []byte

func documentJSON() ([]byte, error) {
	var document any
	if err := yaml.Unmarshal(Document, &document); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return text, nil
}
