// Package banksia says what a photo library is made of: users, libraries,
// assets, albums, people, faces, stacks, tasks, and the errors and identifiers
// that name them. It imports only the standard library, and every other package
// speaks in its words.
//
// The vocabulary is the contract's (internal/api/openapi.yaml): an asset is one
// photo or video, a version is one rendering of it, a variant is one size of a
// version, a library is the top-level container that a user owns.
package banksia
