package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/store"
)

const keysUsage = `Usage: banksia keys create --name NAME [--actions read,write,...] [--library ID]...
       banksia keys list
       banksia keys revoke ID

Manages the API keys of the owner, also while the server runs. create prints the
new key alone on standard output; it cannot be read again. A revoked key fails at
once and stays listed.
`

func keysCommand() command {
	return command{"keys", "create, list and revoke API keys", runKeys}
}

// libraryList is a flag that may be repeated.
type libraryList []banksia.LibraryID

func (l *libraryList) String() string { return "" }

func (l *libraryList) Set(text string) error {
	id, err := banksia.ParseID[banksia.LibraryID](text)
	*l = append(*l, id)
	return err
}

func runKeys(ctx context.Context, args []string, std stdio) error {
	set := newFlags("keys", keysUsage, std)
	data := set.String("data", "data", "`folder` of the server (BANKSIA_DATA)")
	name := set.String("name", "", "`label` of the new key")
	actionText := set.String("actions", "read,write,delete,delete_permanently", "what the new key may do")
	var libraries libraryList
	set.Var(&libraries, "library", "`ID` of a library that the new key is limited to; may be repeated")
	if len(args) == 0 {
		return fmt.Errorf("say create, list or revoke; %w", errUsage)
	}
	verb, rest := args[0], args[1:]
	var target string
	if verb == "revoke" && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		target, rest = rest[0], rest[1:]
	}
	if strings.HasPrefix(verb, "-") {
		rest = args
	}
	getenv := func(variable string) string {
		if variable == "BANKSIA_DATA" { // the others are not settings
			return os.Getenv(variable)
		}
		return ""
	}
	if err := config.Parse(set, rest, getenv, func() (string, bool) { return "", true }); err != nil {
		return err
	}
	path := filepath.Join(*data, "banksia.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no library in %s; start one with: banksia serve --data %s", *data, *data)
	}
	s, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		return err
	}
	defer s.Close()
	owner, err := s.Owner(ctx)
	if err != nil {
		return err
	}
	switch verb {
	case "create":
		return createKey(ctx, s, owner, *name, *actionText, libraries, std)
	case "list":
		return listKeys(ctx, s, owner, std)
	case "revoke":
		id, err := banksia.ParseID[banksia.APIKeyID](target)
		if err != nil {
			return fmt.Errorf("give the ID of the key from \"banksia keys list\": %w", err)
		}
		return s.Write(ctx, func(tx *store.Tx) error { return tx.RevokeAPIKey(owner.ID, id) })
	}
	return fmt.Errorf("say create, list or revoke, not %q; %w", verb, errUsage)
}

func createKey(ctx context.Context, s *store.Store, owner banksia.User, name, actionText string, libraries []banksia.LibraryID, std stdio) error {
	if name == "" {
		return fmt.Errorf("--name is missing; %w", errUsage)
	}
	actions, err := auth.ParseActions(actionText)
	if err != nil {
		return fmt.Errorf("--actions: %w", err)
	}
	for _, library := range libraries {
		if _, err := s.ResolveLibrary(ctx, banksia.Scope{UserID: owner.ID}, &library); err != nil {
			return fmt.Errorf("--library %s: %w", library, err)
		}
	}
	_, secret, err := auth.NewAPIKey(ctx, s, owner.ID, name, actions, libraries)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, secret)
	return err
}

func listKeys(ctx context.Context, s *store.Store, owner banksia.User, std stdio) error {
	keys, err := s.ListAPIKeys(ctx, owner.ID)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tACTIONS\tLIBRARIES\tSTATE\tCREATED\tLAST USED")
	for _, k := range keys {
		actions := make([]string, len(k.Actions))
		for i, action := range k.Actions {
			actions[i] = string(action)
		}
		libraries, state, used := "all", "active", "never"
		if k.LibraryIDs != nil {
			libraries = fmt.Sprint(len(k.LibraryIDs))
		}
		if !k.IsActive {
			state = "revoked"
		}
		if k.LastUsedAt != nil {
			used = k.LastUsedAt.Local().Format(time.DateTime)
		}
		label := ""
		if k.Name != nil {
			label = *k.Name
		}
		fmt.Fprintf(table, "%s\t%q\t%s\t%s\t%s\t%s\t%s\n", k.ID, label, strings.Join(actions, ","), libraries, state, k.CreatedAt.Local().Format(time.DateTime), used)
	}
	return table.Flush()
}
