package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/store"
)

const usersUsage = `Usage: banksia users add ADDRESS [flags]
       banksia users list [flags]
       banksia users disable ADDRESS [flags]
       banksia users enable ADDRESS [flags]
       banksia users limit ADDRESS BYTES|none [flags]
       banksia users reset-password ADDRESS [flags]

Manages who may sign in to a data folder, also while a server runs on it.

add makes a user who signs in with an e-mail address and a password. reset-password
gives a user another password, which ends the sessions begun with the old one; the
owner that the first start made is owner@localhost. Both ask for the password on a
terminal, take it from the first line of standard input with --password-stdin, and
otherwise make one and print it. disable shuts a user out at once, keys included,
and keeps all photos; enable lets the user in again. limit sets how many bytes of
originals a user may store.
`

func usersCommand() command {
	return command{"users", "add, list, disable users, and reset passwords", runUsers}
}

func runUsers(ctx context.Context, args []string, std stdio) error {
	verbs := map[string]struct {
		arguments int
		password  bool
		run       func(ctx context.Context, s *store.Store, args []string, password func() (string, error), std stdio) error
	}{
		"add":  {1, true, addUser},
		"list": {0, false, listUsers},
		"disable": {1, false, func(ctx context.Context, s *store.Store, args []string, _ func() (string, error), std stdio) error {
			return setActive(ctx, s, args[0], false)
		}},
		"enable": {1, false, func(ctx context.Context, s *store.Store, args []string, _ func() (string, error), std stdio) error {
			return setActive(ctx, s, args[0], true)
		}},
		"limit":          {2, false, limitUser},
		"reset-password": {1, true, resetPassword},
	}
	if len(args) == 0 {
		return &usageError{"users", errors.New("say add, list, disable, enable, limit or reset-password")}
	}
	name, args := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help", "help":
		_, err := fmt.Fprint(std.out, usersUsage)
		return err
	}
	verb, ok := verbs[name]
	if !ok {
		return &usageError{"users", fmt.Errorf("say add, list, disable, enable, limit or reset-password, not %q", name)}
	}
	cfg, fromStdin := defaultSettings(), false
	set := flag.NewFlagSet("users "+name, flag.ContinueOnError)
	if verb.password {
		config.Switch(set, &fromStdin, "password-stdin", "take the password from the first line of standard input")
	}
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, usersUsage, args, std, "password-stdin")
	if err != nil {
		return err
	}
	if len(rest) != verb.arguments {
		return &usageError{set.Name(), fmt.Errorf("it takes %d arguments, not %d", verb.arguments, len(rest))}
	}
	made := ""
	password := func() (string, error) {
		text, isNew, err := askPassword(std, fromStdin)
		if isNew {
			made = text
		}
		return text, err
	}
	return withOwner(ctx, cfg, name == "add", std, func(s *store.Store, _ banksia.User) error {
		err := verb.run(ctx, s, rest, password, std)
		if err == nil && made != "" {
			_, err = fmt.Fprintln(std.out, made)
		}
		return err
	})
}

// askPassword gets a new password from a person or a program, or makes one; that is
// printed once it is good for something, and nothing else is, on standard output.
func askPassword(std stdio, fromStdin bool) (password string, made bool, err error) {
	if fromStdin {
		line, err := bufio.NewReader(std.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", false, fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), false, nil
	}
	if file, ok := std.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(std.err, "New password (empty: one is made): ")
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(std.err)
		if err != nil {
			return "", false, fmt.Errorf("read the password: %w", err)
		}
		if len(text) > 0 {
			return string(text), false, nil
		}
	}
	return auth.NewPassword(), true, nil
}

func addUser(ctx context.Context, s *store.Store, args []string, password func() (string, error), std stdio) error {
	text, err := password()
	if err != nil {
		return err
	}
	user, err := auth.AddUser(ctx, s, args[0], text)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "banksia users: %s is %s\n", *user.Email, user.ID)
	return nil
}

func listUsers(ctx context.Context, s *store.Store, _ []string, _ func() (string, error), std stdio) error {
	users, err := s.ListUsers(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tADDRESS\tSTATE\tSTORED BYTES\tLIMIT\tCREATED")
	for _, u := range users {
		email, state, limit := "", "active", "none"
		if u.Email != nil {
			email = *u.Email
		}
		if !u.IsActive {
			state = "disabled"
		}
		if u.StorageLimitBytes != nil {
			limit = strconv.FormatInt(*u.StorageLimitBytes, 10)
		}
		fmt.Fprintf(table, "%s\t%q\t%s\t%d\t%s\t%s\n", u.ID, email, state, u.StorageUsedBytes, limit, u.CreatedAt.Local().Format(time.DateTime))
	}
	return table.Flush()
}

func setActive(ctx context.Context, s *store.Store, email string, active bool) error {
	_, err := auth.ChangeUser(ctx, s, email, func(u *banksia.User) { u.IsActive = active })
	return err
}

func limitUser(ctx context.Context, s *store.Store, args []string, _ func() (string, error), _ stdio) error {
	var limit *int64
	if args[1] != "none" {
		bytes, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil || bytes < 0 {
			return &usageError{"users limit", fmt.Errorf("%q is neither a number of bytes nor none", args[1])}
		}
		limit = &bytes
	}
	_, err := auth.ChangeUser(ctx, s, args[0], func(u *banksia.User) { u.StorageLimitBytes = limit })
	return err
}

func resetPassword(ctx context.Context, s *store.Store, args []string, password func() (string, error), _ stdio) error {
	text, err := password()
	if err != nil {
		return err
	}
	return auth.ResetPassword(ctx, s, args[0], text)
}
