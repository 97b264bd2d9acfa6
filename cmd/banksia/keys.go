package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/store"
)

const keysUsage = `Usage: banksia keys create --name NAME [flags]
       banksia keys list [flags]
       banksia keys revoke ID [flags]
       banksia keys rotate-signing [--at-once] [flags]

Manages the API keys of the owner of a data folder, also while a server runs on
it.

create prints the new key, and nothing else, on standard output; it cannot be read
again. list shows the IDs of all keys, what they allow, and when they were last
used. revoke makes a key useless at once; it stays listed. rotate-signing makes new
keys for the signatures of media URLs and sessions.

"banksia keys create --help" explains the flags.
`

const createKeyUsage = `Usage: banksia keys create --name NAME [flags]

Makes an API key and prints it, and nothing else, on standard output. It cannot be
read again. An empty data folder gets its owner and its library first.

    banksia keys create --name backup --actions read
    banksia keys create --name phone --actions read,write --library "My Library"
`

const listKeysUsage = `Usage: banksia keys list [flags]

Lists the API keys, oldest first, revoked ones included.
`

const revokeKeyUsage = `Usage: banksia keys revoke ID [flags]

Makes the API key with this ID useless at once. "banksia keys list" shows the IDs.
`

const rotateUsage = `Usage: banksia keys rotate-signing [--at-once] [flags]

Makes new keys for the signatures of media URLs and sessions. Running servers
notice within ten seconds. What the old keys have signed stays valid until it would
have expired anyway, nine days at most, so nobody notices.

With --at-once the old keys are worth nothing from now on, because somebody may
know them: all media URLs that were given out fail, and everybody who has signed in
must do so again. API keys and the tokens of OAuth programs are not affected.
`

func keysCommand() command {
	return command{"keys", "create, list and revoke API keys; rotate signing keys", runKeys}
}

func runKeys(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		return &usageError{"keys", errors.New("say create, list, revoke or rotate-signing")}
	}
	verb, args := args[0], args[1:]
	switch verb {
	case "create":
		return runCreateKey(ctx, args, std)
	case "list":
		return runListKeys(ctx, args, std)
	case "revoke":
		return runRevokeKey(ctx, args, std)
	case "rotate-signing":
		return runRotateSigning(ctx, args, std)
	case "-h", "-help", "--help", "help":
		_, err := fmt.Fprint(std.out, keysUsage)
		return err
	}
	return &usageError{"keys", fmt.Errorf("say create, list, revoke or rotate-signing, not %q", verb)}
}

// keyRequest is what the command line says of a new key.
type keyRequest struct {
	name      string
	actions   []banksia.Action
	libraries []string // IDs or names; nil: all
}

// maxKeyName bounds the name of a key, in bytes.
const maxKeyName = 255

func (k *keyRequest) addFlags(set *flag.FlagSet) {
	config.Text(set, &k.name, "name", "what the key is for: a `NAME` in the list of keys", func(text string) error {
		if text == "" || len(text) > maxKeyName || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("must have 1 to %d bytes and no control characters", maxKeyName)
		}
		return nil
	})
	config.Func(set, "actions", joinActions(k.actions), "`LIST` of what the key allows, with commas: read (always needed), write, delete, delete_permanently", func(text string) (err error) {
		k.actions, err = auth.ParseActions(text)
		return err
	})
	config.Func(set, "library", "", "`LIBRARY` that the key is limited to, by name or ID; may be repeated. Without it the key is for all libraries, those made later included", func(text string) error {
		k.libraries = append(k.libraries, text)
		return config.NotEmpty(text)
	})
}

func runCreateKey(ctx context.Context, args []string, std stdio) error {
	cfg, request := defaultSettings(), &keyRequest{actions: banksia.Actions}
	set := flag.NewFlagSet("keys create", flag.ContinueOnError)
	request.addFlags(set)
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, createKeyUsage, args, std, "name", "actions", "library")
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{set.Name(), fmt.Errorf("unexpected argument %q", rest[0])}
	}
	if request.name == "" {
		return &usageError{set.Name(), errors.New("--name is missing")}
	}
	return withOwner(ctx, cfg, true, std, func(s *store.Store, owner banksia.User) error {
		libraries, err := request.findLibraries(ctx, s, owner)
		if err != nil {
			return err
		}
		_, secret, err := auth.NewAPIKey(ctx, s, owner.ID, request.name, request.actions, libraries)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(std.out, secret)
		return err
	})
}

// findLibraries turns names and IDs into IDs.
func (k *keyRequest) findLibraries(ctx context.Context, s *store.Store, owner banksia.User) (ids []banksia.LibraryID, err error) {
	if len(k.libraries) == 0 {
		return nil, nil
	}
	libraries, err := s.ListLibraries(ctx, banksia.Scope{UserID: owner.ID}, store.Live)
	if err != nil {
		return nil, err
	}
	for _, wanted := range k.libraries {
		found := slices.Collect(func(yield func(banksia.LibraryID) bool) {
			for _, l := range libraries {
				if (l.Name == wanted || l.ID.String() == wanted) && !yield(l.ID) {
					return
				}
			}
		})
		switch {
		case len(found) == 0:
			return nil, fmt.Errorf("there is no library %q", wanted)
		case len(found) > 1:
			return nil, fmt.Errorf("several libraries are called %q: give the ID", wanted)
		case !slices.Contains(ids, found[0]):
			ids = append(ids, found[0])
		}
	}
	return ids, nil
}

func runListKeys(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := flag.NewFlagSet("keys list", flag.ContinueOnError)
	cfg.addDataFlags(set)
	if err := cfg.loadAll(set, listKeysUsage, args, std); err != nil {
		return err
	}
	return withOwner(ctx, cfg, false, std, func(s *store.Store, owner banksia.User) error {
		keys, err := s.ListAPIKeys(ctx, owner.ID)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tACTIONS\tLIBRARIES\tSTATE\tCREATED\tLAST USED")
		for _, k := range keys {
			name, libraries, state, used := "", "all", "active", "never"
			if k.Name != nil {
				name = *k.Name
			}
			if k.LibraryIDs != nil {
				libraries = fmt.Sprint(len(k.LibraryIDs))
			}
			if !k.IsActive {
				state = "revoked"
			}
			if k.LastUsedAt != nil {
				used = k.LastUsedAt.Local().Format(time.DateTime)
			}
			fmt.Fprintf(table, "%s\t%q\t%s\t%s\t%s\t%s\t%s\n", k.ID, name, joinActions(k.Actions), libraries, state, k.CreatedAt.Local().Format(time.DateTime), used)
		}
		return table.Flush()
	})
}

func runRevokeKey(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := flag.NewFlagSet("keys revoke", flag.ContinueOnError)
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, revokeKeyUsage, args, std)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return &usageError{set.Name(), errors.New("give the ID of one key")}
	}
	id, err := banksia.ParseID[banksia.APIKeyID](rest[0])
	if err != nil {
		return &usageError{set.Name(), fmt.Errorf("%q is not the ID of a key: %w", rest[0], err)}
	}
	return withOwner(ctx, cfg, false, std, func(s *store.Store, owner banksia.User) error {
		err := s.Write(ctx, func(tx *store.Tx) error { return tx.RevokeAPIKey(owner.ID, id) })
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			return fmt.Errorf("there is no key with the ID %s", id)
		}
		return err
	})
}

func runRotateSigning(ctx context.Context, args []string, std stdio) error {
	cfg, atOnce := defaultSettings(), false
	set := flag.NewFlagSet("keys rotate-signing", flag.ContinueOnError)
	config.Switch(set, &atOnce, "at-once", "end everything that the old keys have signed now")
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, rotateUsage, args, std, "at-once")
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{set.Name(), fmt.Errorf("unexpected argument %q", rest[0])}
	}
	return withOwner(ctx, cfg, false, std, func(s *store.Store, _ banksia.User) error {
		if err := auth.RotateSigningKeys(ctx, s, atOnce); err != nil {
			return err
		}
		_, err := fmt.Fprintf(std.out, "New keys sign media URLs and sessions; running servers notice within %s.\n", auth.KeyNotice)
		return err
	})
}

// withOwner opens the database, also while servers run on it. An empty one gets its
// owner if setup says so.
func withOwner(ctx context.Context, cfg *settings, setup bool, std stdio, f func(*store.Store, banksia.User) error) error {
	open := openForCommand
	if setup {
		open = openOrMake
	}
	s, closeStore, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeStore()
	owner, err := s.Owner(ctx)
	if setup && banksia.ErrorCode(err) == banksia.CodeNotFound {
		fmt.Fprintf(std.err, "banksia: made a library in the empty database\n")
		// Setup needs nothing but the store.
		owner, _, err = catalog.New(s, nil, nil, nil, nil).Setup(ctx)
	}
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return errors.New("the database has no owner yet: start the server first")
	}
	if err != nil {
		return err
	}
	return f(s, owner)
}

// openForCommand opens the database for a command that is no server, also while
// servers run on it. It is an error when there is none.
func openForCommand(ctx context.Context, cfg *settings) (s *store.Store, closeStore func(), err error) {
	if cfg.databaseURL == "" {
		if _, err := os.Stat(databaseFile(cfg.data)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("there is no library in %s; say where it is with --data", cfg.data)
		}
	}
	return openOrMake(ctx, cfg)
}

// openOrMake is openForCommand, and makes an empty database where there is none.
func openOrMake(ctx context.Context, cfg *settings) (s *store.Store, closeStore func(), err error) {
	var lock *os.File
	if cfg.databaseURL == "" {
		var running announcement
		if lock, running, err = lockOrFind(ctx, cfg.data); err != nil {
			return nil, nil, err
		}
		if lock == nil && running.Version != version {
			// To open a database is to migrate it, and the server would not know the
			// newer form.
			return nil, nil, fmt.Errorf("the server on %s is version %s and this is %s: use the same, or stop it first", cfg.data, running.Version, version)
		}
	}
	if s, err = openStore(ctx, cfg, nil); err != nil {
		if lock != nil {
			lock.Close()
		}
		return nil, nil, err
	}
	return s, func() {
		s.Close()
		if lock != nil {
			lock.Close()
		}
	}, nil
}

// joinActions writes actions as --actions takes them.
func joinActions(actions []banksia.Action) string {
	names := make([]string, len(actions))
	for i, action := range actions {
		names[i] = string(action)
	}
	return strings.Join(names, ",")
}
