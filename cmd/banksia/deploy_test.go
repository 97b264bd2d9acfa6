package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/banksia-photos/banksia/internal/config"
)

// fromRoot reads a file of the repository.
func fromRoot(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serveFlags are the settings of banksia serve.
func serveFlags() *flag.FlagSet {
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	defaultSettings().addFlags(set)
	return set
}

var settingName = regexp.MustCompile(`BANKSIA_[A-Z][A-Z_]*[A-Z]`)

// Whoever copies these files gets no setting that does not exist.
func TestDeploymentSettings(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, name := range fileSettings() {
		known[config.Variable(name)] = true
	}
	found := 0
	for _, file := range []string{"compose.yaml", "Dockerfile", "deploy/banksia.service", "deploy/banksia-backup.service", "deploy/banksia-check.service", "deploy/banksia.env", "deploy/compose.env", "deploy/haproxy.cfg", "deploy/alerts.yaml", "docs/operations.md"} {
		for _, name := range settingName.FindAllString(fromRoot(t, file), -1) {
			found++
			if !known[name] {
				t.Errorf("%s has %s, which is no setting", file, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d settings were found", found)
	}
}

// composeFile is the part of the Compose Specification that ours uses.
type composeFile struct {
	Services map[string]struct {
		Image           string
		Build           string
		Command         any
		DependsOn       any `yaml:"depends_on"`
		Environment     map[string]string
		Volumes         []string
		StopGracePeriod string   `yaml:"stop_grace_period"`
		ReadOnly        bool     `yaml:"read_only"`
		CapDrop         []string `yaml:"cap_drop"`
	}
	Volumes map[string]any
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	text := fromRoot(t, "compose.yaml")
	var file composeFile
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	set := serveFlags()
	nodes := 0
	for name, service := range file.Services {
		if tag := service.Image[strings.LastIndexByte(service.Image, ':')+1:]; service.Build == "" && (tag == service.Image || tag == "latest") {
			t.Errorf("%s has no pinned image: %s", name, service.Image)
		}
		switch depends := service.DependsOn.(type) {
		case []any:
			for _, other := range depends {
				if _, there := file.Services[fmt.Sprint(other)]; !there {
					t.Errorf("%s depends on %v, which is not there", name, other)
				}
			}
		case map[string]any:
			for other := range depends {
				if _, there := file.Services[other]; !there {
					t.Errorf("%s depends on %s, which is not there", name, other)
				}
			}
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				fromRoot(t, source)
			} else if _, there := file.Volumes[source]; !there {
				t.Errorf("%s uses the volume %s, which is not there", name, source)
			}
		}
		if service.Build == "" {
			continue
		}
		// A node: its settings are ones that the server takes.
		nodes++
		if !service.ReadOnly || !slices.Contains(service.CapDrop, "ALL") {
			t.Errorf("%s may do more than it needs", name)
		}
		environment := service.Environment
		for variable, value := range environment {
			setting := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "BANKSIA_"), "_", "-"))
			if f := set.Lookup(setting); strings.HasPrefix(variable, "BANKSIA_") && f != nil {
				if err := f.Value.Set(variableInYAML.ReplaceAllString(value, "${2}x")); err != nil && !strings.Contains(value, "${") {
					t.Errorf("%s: %s=%s: %v", name, variable, value, err)
				}
			}
		}
		drain, err := time.ParseDuration(environment["BANKSIA_DRAIN"])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if stop, err := time.ParseDuration(service.StopGracePeriod); err != nil || stop <= drain+defaultSettings().grace {
			t.Errorf("%s is killed after %s, %v; it drains for %s and may take %s more", name, service.StopGracePeriod, err, drain, defaultSettings().grace)
		}
	}
	if nodes != 2 {
		t.Errorf("%d nodes, want 2", nodes)
	}
	// Every variable without a default is in the example.
	example := fromRoot(t, "deploy/compose.env")
	for _, match := range variableInYAML.FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`(?m)^` + match[1] + `=`).MatchString(example) {
			t.Errorf("deploy/compose.env lacks %s", match[1])
		}
	}
}

var variableInYAML = regexp.MustCompile(`\$\{([A-Z0-9_]+)(?::[-?]([^}]*))?\}`)

// settingRow is a line of the table of settings.
var settingRow = regexp.MustCompile("^\\| `--([a-z-]+)` \\| `(BANKSIA_[A-Z_]+)` \\| ([^|]*) \\| ([^|]+) \\|$")

// The table of settings has each, with its variable and its default, and no others.
func TestSettingsTable(t *testing.T) {
	t.Parallel()
	rows := map[string][]string{}
	lines := bufio.NewScanner(strings.NewReader(fromRoot(t, "docs/operations.md")))
	for lines.Scan() {
		if match := settingRow.FindStringSubmatch(lines.Text()); match != nil {
			if rows[match[1]] != nil {
				t.Errorf("--%s is there twice", match[1])
			}
			rows[match[1]] = match
		}
	}
	serveFlags().VisitAll(func(f *flag.Flag) {
		row := rows[f.Name]
		delete(rows, f.Name)
		fallback := f.DefValue
		switch f.Name {
		case "workers":
			fallback = "one for each processor"
		case "data", "listen":
			fallback = "`" + fallback + "`"
		}
		want := fmt.Sprintf("| `--%s` | `%s` | %s | ", f.Name, config.Variable(f.Name), fallback)
		if row == nil || row[2] != config.Variable(f.Name) || row[3] != fallback {
			t.Errorf("docs/operations.md lacks the row:\n%s%s |\nit has: %v", want, f.Usage, row)
		}
	})
	for name := range rows {
		t.Errorf("docs/operations.md has --%s, which is no setting", name)
	}
}

// The unit gives the server time to stop.
func TestUnitFile(t *testing.T) {
	t.Parallel()
	settings := map[string][]string{}
	for line := range strings.Lines(fromRoot(t, "deploy/banksia.service")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	stop, err := time.ParseDuration(settings["TimeoutStopSec"][0])
	if err != nil || stop <= defaultSettings().grace {
		t.Errorf("it is killed after %s, %v", stop, err)
	}
	for name, want := range map[string]string{
		"DynamicUser": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "",
		"MemoryDenyWriteExecute": "yes", "PrivateDevices": "yes", "RestrictNamespaces": "yes", "ExecStart": "/usr/local/bin/banksia serve",
		"EnvironmentFile": "-/etc/banksia.env",
	} {
		if got := settings[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if filter := settings["SystemCallFilter"]; len(filter) == 0 || filter[0] != "@system-service" {
		t.Errorf("SystemCallFilter=%q", filter)
	}
	if settings["StateDirectory"][0] != "banksia" || !slices.Contains(settings["Environment"], "BANKSIA_DATA=/var/lib/banksia") {
		t.Errorf("the data folder is not the state directory: %v", settings)
	}
}

// Units start commands that exist, with flags that these have, and timers start units.
func TestUnitCommands(t *testing.T) {
	t.Parallel()
	commands := 0
	for _, name := range []string{"banksia", "banksia-backup", "banksia-check"} {
		text := fromRoot(t, "deploy/"+name+".service")
		if name != "banksia" {
			fromRoot(t, "deploy/"+name+".timer")
		}
		defaults := map[string]string{}
		for _, match := range regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`).FindAllStringSubmatch(text, -1) {
			defaults[match[1]] = match[2]
		}
		for _, match := range regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/banksia (.*)$`).FindAllStringSubmatch(text, -1) {
			commands++
			line := os.Expand(match[1], func(variable string) string {
				if defaults[variable] == "" {
					t.Errorf("%s: %s has no default", name, variable)
				}
				return defaults[variable]
			})
			var out bytes.Buffer
			if status := run(t.Context(), append(strings.Fields(line), "--help"), stdio{strings.NewReader(""), &out, &out}); status != 0 {
				t.Errorf("%s: banksia %s: %s", name, line, &out)
			}
		}
	}
	if commands != 5 {
		t.Errorf("%d commands were found, want 5", commands)
	}
}
