package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a flag.Value that checks what it takes. Its error says what the setting
// must be.
type value struct {
	text     string // as it stands, for help
	set      func(string) error
	isSwitch bool
}

func (v *value) String() string   { return v.text }
func (v *value) IsBoolFlag() bool { return v.isSwitch }

func (v *value) Set(text string) error {
	if err := v.set(text); err != nil {
		return err
	}
	v.text = text
	return nil
}

// Func adds a flag that hands its text to f. fallback is the default that help
// shows. Unlike flag.Func, what f has taken can come from any source.
func Func(set *flag.FlagSet, name, fallback, help string, f func(string) error) {
	set.Var(&value{text: fallback, set: f}, name, help)
}

// Text adds a flag that takes a text; check may be nil.
func Text(set *flag.FlagSet, to *string, name, help string, check func(string) error) {
	Func(set, name, *to, help, func(text string) error {
		if check != nil {
			if err := check(text); err != nil {
				return err
			}
		}
		*to = text
		return nil
	})
}

// Switch adds a flag that may stand alone for true.
func Switch(set *flag.FlagSet, to *bool, name, help string) {
	set.Var(&value{isSwitch: true, set: func(text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("must be true or false")
		}
		*to = on
		return nil
	}}, name, help)
}

// Integer adds a flag that takes a whole number from least to most, in units of
// unit.
func Integer[T int | int64](set *flag.FlagSet, to *T, name, help string, least, most, unit T) {
	Func(set, name, strconv.FormatInt(int64(*to/unit), 10), help, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < int64(least) || n > int64(most) {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		*to = T(n) * unit
		return nil
	})
}

// Duration adds a flag that takes a time from least to most.
func Duration(set *flag.FlagSet, to *time.Duration, name, help string, least, most time.Duration) {
	Func(set, name, to.String(), help, func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return fmt.Errorf("must be a time from %s to %s, such as 30s", least, most)
		}
		*to = d
		return nil
	})
}

// Choice adds a flag that takes one of several words.
func Choice(set *flag.FlagSet, to *string, name, help string, choices ...string) {
	Text(set, to, name, help, func(text string) error {
		if !slices.Contains(choices, text) {
			return fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
		}
		return nil
	})
}

// NotEmpty is a check for Text.
func NotEmpty(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// Address checks host:port; the host may be absent, a name or an IP address.
func Address(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("must be an address and a port, such as 127.0.0.1:8000 or :8000")
	}
	return nil
}

// Origin checks the URL of a web server.
func Origin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("must be a URL such as https://photos.example.org")
	}
	return nil
}

// PostgresURL checks the URL of a PostgreSQL database.
func PostgresURL(text string) error {
	_, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return errors.New("must be a URL such as postgres://banksia@db.example.org/banksia")
	}
	return nil
}

// Database checks how a person calls a database: sqlite, sqlite:PATH or a URL of
// PostgreSQL. Anything else is not taken for the name of a file: it may be a URL of
// another kind, with a password.
func Database(text string) error {
	if path, isFile := strings.CutPrefix(text, "sqlite:"); text == "sqlite" || isFile && path != "" || PostgresURL(text) == nil {
		return nil
	}
	return errors.New("must be sqlite, sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME")
}

// Help writes what each flag means, with its default and its variable.
func Help(out io.Writer, set *flag.FlagSet, private ...string) {
	set.VisitAll(func(f *flag.Flag) {
		placeholder, help := flag.UnquoteUsage(f)
		head := "  --" + f.Name
		if v, ok := f.Value.(*value); !ok || !v.isSwitch {
			head += " " + placeholder
		}
		var notes []string
		if f.DefValue != "" && f.DefValue != "0" {
			notes = append(notes, "default "+f.DefValue)
		}
		if !slices.Contains(private, f.Name) {
			notes = append(notes, Variable(f.Name))
		}
		if len(notes) > 0 {
			help += " (" + strings.Join(notes, "; ") + ")"
		}
		fmt.Fprint(out, head, "\n")
		for _, text := range wrap(help, 70) {
			fmt.Fprint(out, "        ", text, "\n")
		}
	})
}

// wrap breaks a text into lines of at most width bytes where it has spaces.
func wrap(text string, width int) (lines []string) {
	var current string
	for word := range strings.FieldsSeq(text) {
		switch {
		case current == "":
			current = word
		case len(current)+1+len(word) > width:
			lines = append(lines, current)
			current = word
		default:
			current += " " + word
		}
	}
	return append(lines, current)
}
