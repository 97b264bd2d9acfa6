package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client calls one server.
type client struct {
	base, key string
	http      *http.Client
}

func (c *client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.do(ctx, benchCase{path: path, query: query})
}

func (c *client) do(ctx context.Context, test benchCase) ([]byte, error) {
	method, path, query := http.MethodGet, test.path, test.query
	var content io.Reader
	if test.body != nil {
		text, err := json.Marshal(test.body)
		if err != nil {
			return nil, err
		}
		method, content = http.MethodPost, bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+query.Encode(), content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.key)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s?%s: %s: %.300s", path, query.Encode(), response.Status, body)
	}
	return body, err
}

// page is the part of a list that the measurement needs.
type page struct {
	Data []struct {
		ID      string  `json:"id"`
		StackID *string `json:"stack_id"`
		People  []struct {
			ID string `json:"id"`
		} `json:"people"`
	} `json:"data"`
	HasMore bool `json:"has_more"`
}

func (c *client) page(ctx context.Context, query url.Values) (page, error) {
	var p page
	body, err := c.get(ctx, "/api/assets", query)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	return p, err
}

func list(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("list", flag.ExitOnError)
	urls := flags.String("url", "http://localhost:8000", "server to measure, or several nodes, separated by commas, which share the connections")
	key := flags.String("api-key", os.Getenv("BANKSIA_API_KEY"), "key with the read action")
	connections := flags.String("connections", "1,8,64", "how many connections at once")
	seconds := flags.Float64("seconds", 2, "how long each measurement runs")
	pid := flags.Int("pid", 0, "process of the server, to read its resident memory")
	only := flags.String("only", "", "measure only the cases whose name holds this")
	flags.Parse(args)
	var nodes []*client
	for _, base := range strings.Split(*urls, ",") {
		nodes = append(nodes, &client{base: strings.TrimRight(base, "/"), key: *key, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}})
	}
	cases, err := nodes[0].cases(ctx)
	if err != nil {
		return err
	}
	fmt.Println("| request | connections | p50 ms | p99 ms | requests/s | answer KiB | resident MiB |\n|---|--:|--:|--:|--:|--:|--:|")
	for _, test := range cases {
		if !strings.Contains(test.name, *only) {
			continue
		}
		for _, text := range strings.Split(*connections, ",") {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			result, err := measure(ctx, nodes, test, n, time.Duration(*seconds*float64(time.Second)))
			if err != nil {
				return err
			}
			fmt.Printf("| %s | %d | %.2f | %.2f | %.0f | %.1f | %s |\n", test.name, n, ms(result.p50), ms(result.p99), result.rate, float64(result.size)/1024, resident(*pid))
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// benchCase is one request to repeat.
type benchCase struct {
	name, path string
	query      url.Values
	body       any // sent as JSON by POST; nil: a GET
}

// cases finds an album, a person, a stack and a deep cursor in the library and makes
// one case of each filter.
func (c *client) cases(ctx context.Context) ([]benchCase, error) {
	album, err := c.album(ctx)
	if err != nil {
		return nil, err
	}
	people := map[string]int{}
	stack, deep := "", ""
	query := url.Values{"limit": {"200"}, "include": {"people"}}
	ids := []string{}
	for number := 1; number <= 100; number++ {
		p, err := c.page(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, a := range p.Data {
			if len(ids) < 100 {
				ids = append(ids, a.ID)
			}
			if a.StackID != nil {
				stack = *a.StackID
			}
			for _, person := range a.People {
				people[person.ID]++
			}
		}
		if len(p.Data) > 0 && (p.HasMore || deep == "") {
			deep = p.Data[len(p.Data)-1].ID
			query.Set("starting_after_id", deep)
			query.Set("include", "") // people of the first page are enough
			if number == 1 {
				query.Set("include", "people")
			}
		}
		if !p.HasMore {
			break
		}
	}
	if deep == "" {
		return nil, fmt.Errorf("the library is empty")
	}
	frequent := []string{}
	for id := range people {
		frequent = append(frequent, id)
	}
	slices.SortFunc(frequent, func(a, b string) int { return people[b] - people[a] })
	var cases []benchCase
	add := func(name string, pairs ...string) {
		for _, shape := range []string{"lean", "full"} {
			for _, limit := range []string{"20", "200"} {
				q := url.Values{"limit": {limit}}
				for i := 0; i < len(pairs); i += 2 {
					q.Add(pairs[i], pairs[i+1])
				}
				if shape == "lean" {
					q.Set("include", "")
				}
				cases = append(cases, benchCase{name: name + ", " + shape + " " + limit, path: "/api/assets", query: q})
			}
		}
	}
	add("first page")
	add("deep page", "starting_after_id", deep) // the 1000th page of 20, or the last
	add("order=asc", "order", "asc")
	add("state=all", "state", "all")
	add("state=trashed", "state", "trashed")
	add("media_type=video", "media_type", "video")
	add("album_filter=not_in_album", "album_filter", "not_in_album")
	if album != "" {
		add("album_id", "album_id", album)
	}
	if len(frequent) > 1 {
		add("person_ids, one", "person_ids", frequent[0])
		add("person_ids, two", "person_ids", frequent[0]+","+frequent[1])
	}
	if stack != "" {
		add("stack_id", "stack_id", stack)
	}
	add("ids, 100", "ids", strings.Join(ids, ","))
	add("naive dates", "local_datetime_after", "2010-01-01T00:00:00", "local_datetime_before", "2015-01-01T00:00:00")
	add("aware dates", "local_datetime_after", "2010-01-01T00:00:00Z", "local_datetime_before", "2015-01-01T00:00:00Z")
	add("bbox, city", "bbox", "13.3,52.45,13.5,52.6")
	add("bbox, country", "bbox", "-10,36,4,51.5")
	add("bbox, world", "bbox", "-180,-90,180,90")
	add("bbox, antimeridian", "bbox", "177,-19,-178,-17")
	add("center, 5 km", "center", "13.4,52.52", "radius", "5000")
	cases = append(cases,
		benchCase{name: "counts", path: "/api/assets/counts", query: url.Values{}},
		benchCase{name: "geo-clusters, city", path: "/api/assets/geo-clusters", query: url.Values{"bbox": {"13.3,52.45,13.5,52.6"}, "cell_size": {"0.01"}}},
		benchCase{name: "geo-clusters, world", path: "/api/assets/geo-clusters", query: url.Values{"bbox": {"-180,-90,180,90"}, "cell_size": {"10"}}},
		benchCase{name: "one asset, full", path: "/api/assets/" + ids[0], query: url.Values{}})
	return cases, nil
}

// album is the one with the most assets among the first; "": there is none.
func (c *client) album(ctx context.Context) (id string, err error) {
	body, err := c.get(ctx, "/api/albums", url.Values{"limit": {"200"}})
	if err != nil {
		return "", err
	}
	var list struct {
		Data []struct {
			ID         string `json:"id"`
			AssetCount int    `json:"asset_count"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", err
	}
	largest := 0
	for _, a := range list.Data {
		if a.AssetCount > largest {
			id, largest = a.ID, a.AssetCount
		}
	}
	return id, nil
}

type measured struct {
	p50, p99 time.Duration
	rate     float64 // requests a second
	size     int     // bytes of one answer
}

// measure repeats a request from several connections, shared among the nodes, for a
// while.
func measure(ctx context.Context, nodes []*client, test benchCase, connections int, length time.Duration) (measured, error) {
	var body []byte
	for _, c := range nodes { // also warms the caches
		var err error
		if body, err = c.do(ctx, test); err != nil {
			return measured{}, err
		}
	}
	var mu sync.Mutex
	var times []time.Duration
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	start := time.Now()
	for i := range connections {
		c := nodes[i%len(nodes)]
		wait.Go(func() {
			var own []time.Duration
			for time.Since(start) < length && failed.Load() == nil {
				begin := time.Now()
				if _, err := c.do(ctx, test); err != nil {
					failed.Store(&err)
					return
				}
				own = append(own, time.Since(begin))
			}
			mu.Lock()
			times = append(times, own...)
			mu.Unlock()
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return measured{}, *err
	}
	slices.Sort(times)
	return measured{times[len(times)/2], times[len(times)*99/100], float64(len(times)) / time.Since(start).Seconds(), len(body)}, nil
}

// resident is the memory of a process in MiB, as Linux counts it; the media
// workers, which come and go, are counted with it.
func resident(pid int) string {
	if pid == 0 {
		return ""
	}
	total := rss(pid)
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if child, err := strconv.Atoi(entry.Name()); err == nil && parent(child) == pid {
			total += rss(child)
		}
	}
	return fmt.Sprintf("%.0f", float64(total)/1024)
}

// status reads one field of /proc/PID/status.
func status(pid int, field string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			value, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return value
		}
	}
	return 0
}

func rss(pid int) int    { return status(pid, "VmRSS") }
func parent(pid int) int { return status(pid, "PPid") }
