// Package config reads settings: flags before BANKSIA_* variables before a file
// before defaults. A setting is a flag of the command; its variable, which is
// also its name in the file, follows from the name of the flag.
package config

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// prefix begins every variable.
const prefix = "BANKSIA_"

// Variable is the environment variable of a flag: BANKSIA_LOG_LEVEL of
// log-level.
func Variable(flagName string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// Sources says where settings come from beside the command line.
type Sources struct {
	// Getenv is os.Getenv; an empty variable counts as unset.
	Getenv func(string) string
	// File names the config file once flags and environment are known; an optional
	// one may be absent.
	File func() (path string, optional bool)
	// Private are flags that say what this one call does, so that neither a
	// variable nor the file sets them.
	Private []string
	// Others are settings of other commands that share the file.
	Others []string
}

// Parse reads the arguments into the flags of set, then fills those that were not
// given from the environment, then from the file. Flags and other arguments may be
// mixed, and after "--" none is a flag; rest is the arguments that are no flags. A
// file with a name that is no setting is an error, so that a misspelt one does not
// go unnoticed. It fails with flag.ErrHelp when help was asked for.
func Parse(set *flag.FlagSet, args []string, from Sources) (rest []string, err error) {
	if rest, err = parseFlags(set, args); err != nil {
		if hidden := HidePasswords(err.Error()); hidden != err.Error() {
			return nil, errors.New(hidden)
		}
		return nil, err
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	assign := func(f *flag.Flag, value, source string) {
		if given[f.Name] {
			return
		}
		given[f.Name] = true
		if err := set.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s cannot be %q: %w", source, HidePasswords(value), err))
		}
	}
	settings := map[string]*flag.Flag{}
	set.VisitAll(func(f *flag.Flag) {
		if slices.Contains(from.Private, f.Name) {
			return
		}
		settings[Variable(f.Name)] = f
		if value := from.Getenv(Variable(f.Name)); value != "" {
			assign(f, value, Variable(f.Name))
		}
	})
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	path, optional := from.File()
	lines, err := readFile(path)
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	if err != nil && !(optional && absent) {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	for _, l := range lines {
		switch f := settings[l.name]; {
		case f != nil:
			assign(f, l.value, l.source+": "+l.name)
		case !slices.ContainsFunc(from.Others, func(name string) bool { return Variable(name) == l.name }):
			errs = append(errs, fmt.Errorf("%s: there is no setting %s", l.source, l.name))
		}
	}
	return rest, errors.Join(errs...)
}

// passwords are the parts of URLs that hold one: before a host, or in the query.
var passwords = regexp.MustCompile(`(?i)//[^\s"]*@|[\w-]*(password|secret|token|key)[\w-]*=[^&\s"]*`)

// HidePasswords makes a text fit for the terminal and the log.
func HidePasswords(text string) string {
	return passwords.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "//") {
			return "//xxxxx@"
		}
		name, _, _ := strings.Cut(found, "=")
		return name + "=xxxxx"
	})
}

func parseFlags(set *flag.FlagSet, args []string) (rest []string, err error) {
	var last []string
	if at := slices.Index(args, "--"); at >= 0 {
		args, last = args[:at], args[at+1:]
	}
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return append(rest, last...), nil
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
}

// line is a setting in a file; source says which line it is.
type line struct{ name, value, source string }

// readFile reads lines of the form BANKSIA_NAME=value; blank lines and those that
// begin with # do not count, and quotes around a value are dropped. This is also
// what systemd and Docker take as an environment file. No name may come twice.
func readFile(path string) ([]line, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []line
	seen := map[string]bool{}
	scanner := bufio.NewScanner(file)
	for number := 1; scanner.Scan(); number++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		source := fmt.Sprintf("%s line %d", path, number)
		name, value, found := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found {
			return nil, fmt.Errorf("%s: not of the form %sNAME=value", source, prefix)
		}
		if seen[name] {
			return nil, fmt.Errorf("%s: %s is set a second time", source, name)
		}
		seen[name] = true
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		lines = append(lines, line{name, value, source})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lines, nil
}

// Unknown returns the variables of an environment (os.Environ) that look like
// settings but are none of these flags: mostly misspelt ones.
func Unknown(environ, flagNames []string) (names []string) {
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, prefix) && !slices.ContainsFunc(flagNames, func(f string) bool { return Variable(f) == name }) {
			names = append(names, name)
		}
	}
	return names
}
