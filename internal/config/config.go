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
	"strings"
)

// prefix begins every variable.
const prefix = "BANKSIA_"

// Variable is the environment variable of a flag: BANKSIA_LOG_LEVEL of
// log-level.
func Variable(flagName string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// Parse reads the arguments into the flags of set, then fills those that were not
// given from the environment, then from the file that file names once flags and
// environment are known. An optional file may be absent. A file with a name that
// is no setting is an error, so that a misspelt one does not go unnoticed.
func Parse(set *flag.FlagSet, args []string, getenv func(string) string, file func() (path string, optional bool)) error {
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
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
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
		}
	}
	set.VisitAll(func(f *flag.Flag) {
		if value := getenv(Variable(f.Name)); value != "" {
			assign(f, value, Variable(f.Name))
		}
	})
	if path, optional := file(); path != "" && len(errs) == 0 {
		settings, err := readFile(path)
		switch {
		case optional && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		}
		flags := map[string]*flag.Flag{}
		set.VisitAll(func(f *flag.Flag) { flags[Variable(f.Name)] = f })
		for _, s := range settings {
			if flags[s.name] == nil {
				errs = append(errs, fmt.Errorf("%s: there is no setting %s", s.source, s.name))
				continue
			}
			assign(flags[s.name], s.value, s.source)
		}
	}
	return errors.Join(errs...)
}

// setting is one line of a file.
type setting struct{ name, value, source string }

// readFile reads lines of the form BANKSIA_NAME=value; blank lines and those that
// begin with # do not count, and quotes around a value are dropped. This is also
// what systemd and Docker take as an environment file.
func readFile(path string) ([]setting, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer file.Close()
	var settings []setting
	scanner := bufio.NewScanner(file)
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		source := fmt.Sprintf("%s, line %d", path, number)
		name, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("%s: not of the form %sNAME=value", source, prefix)
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		settings = append(settings, setting{strings.TrimSpace(name), value, source})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return settings, nil
}
