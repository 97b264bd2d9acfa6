package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
	"github.com/banksia-photos/banksia/internal/store"
)

// reading are the operations that change nothing though their method could, and
// so need no more than read.
var reading = map[string]string{
	"POST /api/assets/exist":        "asks which files are there",
	"POST /api/search":              "a picture to search by does not fit into a URL",
	"POST /api/api-keys/":           "keys are managed in person, whatever a key allows",
	"PATCH /api/api-keys/{key_id}":  "in person",
	"DELETE /api/api-keys/{key_id}": "in person",
	"POST /api-keys/":               "in person",
	"PATCH /api-keys/{key_id}":      "in person",
	"DELETE /api-keys/{key_id}":     "in person",
}

// deleting are the operations that need more than write (behaviour 4.6): what can be
// taken back needs delete, what cannot delete_permanently.
var deleting = map[string]banksia.Action{
	"POST /api/assets/trash":                                   banksia.Delete,
	"POST /api/assets/restore":                                 banksia.Delete,
	"DELETE /api/albums/{album_id}":                            banksia.Delete,
	"DELETE /api/people/{person_id}":                           banksia.Delete,
	"DELETE /api/faces/{face_id}":                              banksia.Delete,
	"DELETE /api/assets/{asset_id}/versions/{version_id}":      banksia.Delete,
	"POST /api/assets/{asset_id}/versions/{version_id}/revert": banksia.Delete,
	"POST /api/libraries/{library_id}/trash":                   banksia.Delete,
	"POST /api/libraries/{library_id}/restore":                 banksia.Delete,
	"DELETE /api/assets":                                       banksia.DeletePermanently,
	"DELETE /api/assets/{asset_id}":                            banksia.DeletePermanently,
	"POST /api/assets/empty-trash":                             banksia.DeletePermanently,
	"DELETE /api/libraries/{library_id}":                       banksia.DeletePermanently,
}

// mustNeed is the action that an operation of the document must ask for.
func mustNeed(o spec.Operation) banksia.Action {
	pattern := o.Method + " " + o.Path
	switch {
	case deleting[pattern] != "":
		return deleting[pattern]
	case o.Method == http.MethodGet || reading[pattern] != "":
		return banksia.Read
	}
	return banksia.Write
}

// identifies tells what a parameter names, by its name: one of the keys of
// sampleIDs. "ids" and "starting_after_id" name what the path lists.
var identifies = map[string]string{
	"asset_ids": "asset_id", "primary_asset_id": "member_id", "album_cover_asset_id": "asset_id", "updates": "asset_id",
	"person_ids": "person_id", "source_person_ids": "source_person_id", "album_ids": "album_id", "library_ids": "library_id",
	"thumbnail_face_id": "face_id", "expected_current_version_id": "version_id",
	"checksums": "checksum", "checksum_sha1s": "sha1",
}

// listed is what the resources of paths are called in identifies.
var listed = map[string]string{"assets": "asset_id", "albums": "album_id", "album-assets": "album_asset_id", "people": "person_id", "faces": "face_id", "stacks": "stack_id"}

// notIdentifiers end like identifiers of the server's objects and are the client's.
var notIdentifiers = map[string]bool{"device_asset_id": true, "device_id": true}

// slot is a place of a request that names an object.
type slot struct {
	in, name string // "path", "query", "body" or "form"
	kind     string // a key of sampleIDs
}

// slotsOf finds every place where an operation takes an identifier. One that is not
// known fails the test, so that a new one cannot be forgotten.
func slotsOf(t *testing.T, o spec.Operation, inputs spec.Parameters) (slots []slot) {
	t.Helper()
	add := func(in, name string) {
		kind := identifies[name]
		switch {
		case sampleIDs[name] != "":
			kind = name
		case name == "ids" || name == "starting_after_id":
			kind = listed[strings.Split(o.Path, "/")[2]]
		}
		if kind != "" {
			slots = append(slots, slot{in, name, kind})
		} else if (strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "ids")) && !notIdentifiers[name] {
			t.Errorf("%s: what does %s name? The matrix must know", o.ID, name)
		}
	}
	for _, name := range inputs.PathValues {
		add("path", name)
		if name == "task_id" { // which has a second name
			slots = append(slots, slot{"path", name, "delivery_id"})
		}
	}
	for name := range inputs.Query {
		add("query", name)
	}
	properties, _ := inputs.Body["properties"].(map[string]any)
	for name := range properties {
		add("body", name)
	}
	for name := range inputs.Form {
		add("form", name)
	}
	return slots
}

// put names an object in a place of a request.
func (s slot) put(r *requestOf, o spec.Operation, id string, own map[string]string) {
	switch s.in {
	case "path":
		r.path[s.name] = id
	case "query":
		r.query.Set(s.name, id)
	case "form":
		r.parts = append([]banksiatest.Part{{Name: s.name, Content: []byte(id)}}, r.parts...)
	case "body":
		switch {
		case s.name == "updates":
			r.body[s.name] = []any{map[string]any{"id": id, "change": map[string]any{"description": "changed"}}}
		case o.ID == "createStack" && s.name == "asset_ids":
			r.body[s.name] = []any{own["member_id"], id}
		case s.name == "library_ids":
			r.body["library_scope_mode"], r.body[s.name] = "selected_libraries", []any{id}
		case s.name == "checksum_sha1s":
			delete(r.body, "checksums")
			r.body[s.name] = []any{id}
		case strings.HasSuffix(s.name, "s"):
			r.body[s.name] = []any{id}
		default:
			r.body[s.name] = id
		}
	}
}

// objects makes one object of each kind in a library and returns their identifiers.
// All their texts hold the marker.
func objects(t *testing.T, s *banksiatest.Server, user banksia.UserID, library banksia.LibraryID, marker string) map[string]string {
	t.Helper()
	assets := s.AddAssets(t, 4, func(i int, a *banksia.Asset, m *banksia.Metadata) {
		a.LibraryID, a.OriginalFileName = library, marker+".jpg"
		m.Description, m.Latitude, m.Longitude = &marker, pointer(48.0), pointer(2.0)
		sum := sha256.Sum256(a.ID[:]) // or those of all sets would be equal
		a.File.SHA256, a.Version.SHA256, a.File.SHA1 = sum[:], sum[:], sum[:20]
	})
	now := s.Store.Now()
	album := banksia.Album{ID: banksia.NewID[banksia.AlbumID](now), LibraryID: library, Name: marker, CreatedAt: now, UpdatedAt: now}
	stack := banksia.Stack{ID: banksia.NewID[banksia.StackID](now), LibraryID: library, Origin: banksia.StackUser, CreatedAt: now, UpdatedAt: now}
	people := [2]banksia.Person{}
	link := banksia.NewID[banksia.AlbumAssetID](now)
	face := banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: library, AssetID: assets[0].ID, Source: banksia.FaceManual, BoundingBox: banksia.BoundingBox{W: 9, H: 9}, CreatedAt: now, UpdatedAt: now}
	edit := assets[0].Version
	edit.ID, edit.AssetID, edit.Kind, edit.Position = banksia.NewID[banksia.VersionID](now), assets[0].ID, "edit", 1
	task := banksia.Task{UserID: user, LibraryID: &library, AssetID: &assets[0].ID, Type: banksia.TaskReverseGeocode}
	err := s.Store.Change(t.Context(), user, func(tx *store.Tx) error {
		err := tx.InsertAlbum(&album)
		if err == nil {
			err = tx.InsertAlbumAsset(link, album.ID, assets[0].ID)
		}
		for n := range people {
			people[n] = banksia.Person{ID: banksia.NewID[banksia.PersonID](now), LibraryID: library, Name: &marker, CreatedAt: now, UpdatedAt: now}
			if err == nil {
				err = tx.InsertPerson(&people[n])
			}
		}
		face.PersonID = &people[0].ID
		if err == nil {
			err = tx.InsertFace(&face)
		}
		if err == nil {
			err = tx.InsertStack(&stack, []banksia.AssetID{assets[1].ID, assets[2].ID})
		}
		if err == nil {
			err = tx.InsertVersion(library, &edit)
		}
		if err == nil {
			err = tx.EnqueueTask(&task, "")
		}
		return err
	})
	if err == nil {
		err = s.Catalog.TrashAssets(t.Context(), banksia.Scope{UserID: user, Actions: banksia.Actions}, library, []banksia.AssetID{assets[3].ID})
	}
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := auth.NewAPIKey(t.Context(), s.Store, user, marker, banksia.Actions, nil)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"asset_id": assets[0].ID.String(), "member_id": assets[1].ID.String(), "album_id": album.ID.String(), "album_asset_id": link.String(),
		"person_id": people[0].ID.String(), "source_person_id": people[1].ID.String(), "face_id": face.ID.String(), "stack_id": stack.ID.String(),
		"library_id": library.String(), "key_id": key.ID.String(), "task_id": task.ID.String(), "delivery_id": task.DeliveryID, "version_id": edit.ID.String(),
		"checksum": base64.StdEncoding.EncodeToString(assets[0].File.SHA256), "sha1": base64.StdEncoding.EncodeToString(assets[0].File.SHA1),
	}
}

// people makes users and credentials of every kind.
type people_ struct {
	t       testing.TB
	s       *banksiatest.Server
	login   *auth.Login
	oauth   *auth.OAuth
	program string // an OAuth client
}

func newPeople(t testing.TB, s *banksiatest.Server) *people_ {
	t.Helper()
	authenticator, err := auth.NewAuthenticator(t.Context(), s.Store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := &people_{t: t, s: s, login: auth.NewLogin(auth.LoginConfig{}, s.Store, authenticator)}
	p.oauth = auth.NewOAuth(s.Store, p.login)
	client, err := p.oauth.Register(t.Context(), "program", []string{returnTo})
	if err != nil {
		t.Fatal(err)
	}
	p.program = client.ID
	return p
}

// user makes a user with a library.
func (p *people_) user(name string) (banksia.User, banksia.LibraryID) {
	p.t.Helper()
	user, err := auth.AddUser(p.t.Context(), p.s.Store, name+"@localhost", "")
	if err != nil {
		p.t.Fatal(err)
	}
	return user, p.library(user.ID, name)
}

func (p *people_) library(user banksia.UserID, name string) banksia.LibraryID {
	p.t.Helper()
	now := p.s.Store.Now()
	library := banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: user, Name: name, CreatedAt: now, UpdatedAt: now}
	if err := p.s.Store.Write(p.t.Context(), func(tx *store.Tx) error { return tx.InsertLibrary(&library) }); err != nil {
		p.t.Fatal(err)
	}
	return library.ID
}

// key makes an API key.
func (p *people_) key(user banksia.UserID, actions []banksia.Action, libraries ...banksia.LibraryID) string {
	p.t.Helper()
	_, secret, err := auth.NewAPIKey(p.t.Context(), p.s.Store, user, "key", actions, libraries)
	if err != nil {
		p.t.Fatal(err)
	}
	return secret
}

// session signs a user in.
func (p *people_) session(user banksia.UserID) string {
	p.t.Helper()
	ctx := p.t.Context()
	state := func(target string, err error, name string) string {
		p.t.Helper()
		u, parseErr := url.Parse(target)
		if err != nil || parseErr != nil {
			p.t.Fatal(err, parseErr)
		}
		return u.Query().Get(name)
	}
	target, err := p.login.Begin(ctx, p.s.URL, returnTo, "", "")
	begun := state(target, err, "state")
	target, err = p.login.Finish(ctx, begun, user)
	token, _, err := p.login.Exchange(ctx, begun, state(target, err, "code"), "", "")
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// tokens lets a program act for a user.
func (p *people_) tokens(user banksia.UserID, actions []banksia.Action) auth.Tokens {
	p.t.Helper()
	scope := ""
	for _, action := range actions {
		scope += string(action) + ":assets "
	}
	target, err := p.oauth.Grant(p.t.Context(), &auth.AuthorizationRequest{ResponseType: "code", ClientID: p.program, RedirectURI: returnTo, Scope: scope, CodeChallenge: challenge(), Method: "S256"}, user)
	if err != nil {
		p.t.Fatal(err)
	}
	u, err := url.Parse(target)
	if err != nil {
		p.t.Fatal(err)
	}
	tokens, err := p.oauth.Redeem(p.t.Context(), p.program, u.Query().Get("code"), returnTo, verifier)
	if err != nil {
		p.t.Fatal(err)
	}
	return tokens
}

// otherThan is an identifier, or a checksum, next to a given one: whether a list
// begins before or after the one or the other makes no difference.
func otherThan(id string) string {
	at := len(id) - 1
	if strings.HasSuffix(id, "=") {
		at = 0
	}
	digit := byte('A')
	if id[at] == digit {
		digit = 'B'
	}
	return id[:at] + string(digit) + id[at+1:]
}

func without(action banksia.Action) []banksia.Action {
	return slices.DeleteFunc(slices.Clone(banksia.Actions), func(a banksia.Action) bool { return a == action })
}

// matrix sends the requests of a table of operations and callers.
type matrix struct {
	t      *testing.T
	s      *banksiatest.Server
	client *http.Client
	// watched are the libraries in which nothing may change.
	watched []banksia.LibraryID
	events  int
}

// countEvents is how many changes there ever were.
func (m *matrix) countEvents() (n int) {
	m.t.Helper()
	err := m.s.Store.Read(context.Background(), func(tx *store.Tx) error {
		for _, library := range m.watched {
			var more int
			if err := tx.QueryRow(`SELECT COUNT(*) FROM events WHERE library_id = $1`, library).Scan(&more); err != nil {
				return err
			}
			n += more
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// send sends a request with the value of its Authorization header. Unlike
// banksiatest it accepts every status: older operations document few.
func (m *matrix) send(r requestOf, o spec.Operation, authorization string) (status int, body string) {
	m.t.Helper()
	request := r.http(m.t, m.s, o, "")
	return m.do(request, authorization)
}

func (m *matrix) do(request *http.Request, authorization string) (status int, body string) {
	m.t.Helper()
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer, err := m.client.Do(request)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// public sends a request to an operation that needs no credential.
func (m *matrix) public(method, path string, values url.Values, authorization string) (status int, body string) {
	m.t.Helper()
	target, form := m.s.URL+path, ""
	if method == http.MethodGet {
		target += "?" + values.Encode()
	} else {
		form = values.Encode()
	}
	request, err := http.NewRequest(method, target, strings.NewReader(form))
	if err != nil {
		m.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return m.do(request, authorization)
}

// unchanged fails the test when anything has changed since the last look.
func (m *matrix) unchanged(what string) {
	m.t.Helper()
	if n := m.countEvents(); n != m.events {
		m.t.Errorf("%s changed something", what)
		m.events = n
	}
}

// hidden is a caller, what belongs to it, and what it must not know of.
type hidden struct {
	name          string
	authorization string
	own, foreign  map[string]string
	marker        string // in all texts of foreign
	// knows tells which foreign objects the caller may know of all the same.
	knows func(o spec.Operation, s slot) bool
}

// found is what of a caller's foreign objects is in an answer, "" for nothing.
func (h *hidden) found(o spec.Operation, body string) string {
	if strings.Contains(body, h.marker) {
		return h.marker
	}
	for kind, id := range h.foreign {
		if strings.Contains(body, id) && !h.knows(o, slot{kind: kind}) {
			return kind
		}
	}
	return ""
}

// Every operation of the document against every kind of caller: none, credentials
// that are none or work no more, those that lack the action, and those of somebody
// else. Who may not know of an object gets the very answer of one that is not
// there. The table is made from the document, so that no operation and no
// identifier in a path, query or body can be forgotten.
func TestAuthorisation(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }})
	people := newPeople(t, s)
	owner := s.Owner.ID
	expiredSession, expiredToken := people.session(owner), people.tokens(owner, banksia.Actions).AccessToken
	clock.Add(int64(8 * 24 * time.Hour))

	// Credentials that are none.
	endedSession := people.session(owner)
	if err := s.Store.Write(t.Context(), func(tx *store.Tx) error { return tx.SetPasswordHash(owner, "nobody's") }); err != nil {
		t.Fatal(err)
	}
	revoked, revokedKey, err := auth.NewAPIKey(t.Context(), s.Store, owner, "revoked", banksia.Actions, nil)
	if err == nil {
		err = s.Store.Write(t.Context(), func(tx *store.Tx) error { return tx.RevokeAPIKey(owner, revoked.ID) })
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := people.tokens(owner, banksia.Actions)
	if err := people.oauth.Revoke(t.Context(), ended.AccessToken); err != nil {
		t.Fatal(err)
	}
	fired, _ := people.user("fired")
	firedKey, firedSession, firedToken := people.key(fired.ID, banksia.Actions), people.session(fired.ID), people.tokens(fired.ID, banksia.Actions)
	if _, err := auth.ChangeUser(t.Context(), s.Store, *fired.Email, func(u *banksia.User) { u.IsActive = false }); err != nil {
		t.Fatal(err)
	}
	session := people.session(owner)
	claims := strings.Split(session, ".")[1]
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + claims + "."
	elsewhere := banksiatest.NewServer(t)
	foreignSession := newPeople(t, elsewhere).session(elsewhere.Owner.ID)
	forged := session[:strings.LastIndexByte(session, '.')] + foreignSession[strings.LastIndexByte(foreignSession, '.'):]
	unauthorised := map[string]string{
		"nobody": "", "a wrong key": "Bearer apikey_wrong", "a revoked key": "Bearer " + revokedKey, "a key by another scheme": "Basic " + s.Key, "a key without a scheme": s.Key,
		"a disabled user's key": "Bearer " + firedKey, "a disabled user's session": "Bearer " + firedSession, "a disabled user's OAuth token": "Bearer " + firedToken.AccessToken,
		"an expired session": "Bearer " + expiredSession, "an ended session": "Bearer " + endedSession, "an unsigned session": "Bearer " + unsigned, "another server's session": "Bearer " + foreignSession, "a session with another signature": "Bearer " + forged,
		"an expired OAuth token": "Bearer " + expiredToken, "a revoked OAuth token": "Bearer " + ended.AccessToken, "a refresh token": "Bearer " + people.tokens(owner, banksia.Actions).RefreshToken,
		"an OAuth token that is none": "Bearer oat_wrong", "the local credential of another process": "Bearer local_wrong",
	}
	// Credentials that lack an action.
	narrow := map[banksia.Action][2]string{}
	for _, action := range banksia.Actions {
		narrow[action] = [2]string{"Bearer " + people.key(owner, without(action)), "Bearer " + people.tokens(owner, without(action)).AccessToken}
	}
	fullKey, fullToken := "Bearer "+s.Key, "Bearer "+people.tokens(owner, banksia.Actions).AccessToken

	// What belongs to whom.
	victim := objects(t, s, owner, s.Library, "victim")
	strangerUser, strangerLibrary := people.user("stranger")
	second := people.library(owner, "second")
	tidy, tidyLibrary := people.user("tidy")
	binned := people.library(tidy.ID, "binned")
	keeper, keeperLibrary := people.user("keeper")
	keepers := 0
	trashed := objects(t, s, tidy.ID, binned, "binned")
	kept := objects(t, s, keeper.ID, keeperLibrary, "keeper")
	never := func(spec.Operation, slot) bool { return false }
	callers := []hidden{
		{"another user", "Bearer " + people.session(strangerUser.ID), objects(t, s, strangerUser.ID, strangerLibrary, "stranger"), victim, "victim", never},
		{"a key of another library", "Bearer " + people.key(owner, banksia.Actions, second), objects(t, s, owner, second, "second"), victim, "victim", never},
		{"the owner of a trashed library", "Bearer " + people.session(tidy.ID), objects(t, s, tidy.ID, tidyLibrary, "tidy"), trashed, "binned", func(o spec.Operation, s slot) bool {
			// The library itself stays known until it is gone (behaviour 10.3), its tasks stay
			// listed (docs/contract.md), and keys are the user's, not the library's.
			return s.kind == "key_id" || strings.HasPrefix(o.Path, "/api/tasks/") && s.kind != "library_id" || s.kind == "library_id" && (strings.HasPrefix(o.Path, "/api/libraries/") || s.name == "library_ids")
		}},
	}
	s.Finished(t)
	tidyScope := banksia.Scope{UserID: tidy.ID, Actions: banksia.Actions}
	before := []string{snapshot(t, people, owner, s.Library, victim), snapshot(t, people, tidy.ID, binned, trashed)}
	if err := s.Catalog.TrashLibrary(t.Context(), tidyScope, binned); err != nil {
		t.Fatal(err)
	}

	needed := api.Needed()
	document, err := spec.Load(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	exercised, err := banksiatest.Exercised()
	if err != nil {
		t.Fatal(err)
	}
	m := &matrix{t: t, s: s, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, watched: []banksia.LibraryID{s.Library, strangerLibrary, second, tidyLibrary, binned}}
	m.events = m.countEvents()
	requests := 0
	for _, o := range document.Operations() {
		pattern := o.Method + " " + o.Path
		action := needed[pattern]
		if action == "" {
			if api.Public[pattern] == "" {
				t.Errorf("%s is neither public nor needs it an action", pattern)
			}
			continue
		}
		if must := mustNeed(o); action != must {
			t.Errorf("%s needs the action %s, not %s", pattern, action, must)
		}
		inputs := exercised.Inputs(o)
		harmful := newRequestWith(o, inputs, victim)
		for name, authorization := range unauthorised {
			requests++
			if status, body := m.send(harmful, o, authorization); status != http.StatusUnauthorized || strings.Contains(body, "victim") {
				t.Errorf("%s by %s: %d %.300s", pattern, name, status, body)
			}
		}
		inPerson := strings.Contains(o.Path, "api-keys")
		refused := []string{narrow[action][0]}
		if action != banksia.Read { // which comes with every token
			refused = append(refused, narrow[action][1])
		}
		if inPerson {
			refused = append(refused, fullKey, fullToken)
		}
		for _, authorization := range refused {
			requests++
			if status, body := m.send(harmful, o, authorization); status != http.StatusForbidden || strings.Contains(body, "victim") {
				t.Errorf("%s without %s: %d %.300s", pattern, action, status, body)
			}
		}
		m.unchanged(pattern + " by who may not")
		for _, caller := range callers {
			if action == banksia.Read && !inPerson { // in which nothing is named, so that all is meant
				requests++
				if status, body := m.send(newRequestWith(o, inputs, caller.own), o, caller.authorization); caller.found(o, body) != "" {
					t.Errorf("%s by %s: %d, with the foreign %s: %.300s", pattern, caller.name, status, caller.found(o, body), body)
				}
			}
			for _, slot := range slotsOf(t, o, inputs) {
				if caller.knows(o, slot) {
					continue
				}
				ask := func(id string) (int, string) {
					r := newRequestWith(o, inputs, caller.own)
					slot.put(&r, o, id, caller.own)
					requests++
					status, body := m.send(r, o, caller.authorization)
					return status, strings.ReplaceAll(body, id, "ID")
				}
				missing, missingBody := ask(otherThan(caller.foreign[slot.kind]))
				foreign, foreignBody := ask(caller.foreign[slot.kind])
				what := fmt.Sprintf("%s by %s with a foreign %s in the %s", pattern, caller.name, slot.name, slot.in)
				if missing != foreign || missingBody != foreignBody || caller.found(o, foreignBody) != "" {
					t.Errorf("%s: %d %.300s\nwith one that is not there: %d %.300s", what, foreign, foreignBody, missing, missingBody)
				}
				m.unchanged(what)
			}
		}
		// The request is refused for the caller alone: its own user may send it.
		mine, user := kept, keeper
		if action != banksia.Read {
			keepers++
			var library banksia.LibraryID
			user, library = people.user(fmt.Sprint("keeper", keepers))
			mine = objects(t, s, user.ID, library, "keeper")
		}
		authorization := "Bearer " + people.key(user.ID, []banksia.Action{banksia.Read, action})
		if inPerson {
			authorization = "Bearer " + people.session(user.ID)
		}
		request := newRequestWith(o, inputs, mine)
		if strings.Contains(o.Path, "/versions") && inputs.Multipart {
			request.parts = rendering(banksiatest.JPEG(t, 8, 8, uint8(keepers)), "edit", "{}")
		}
		wanted := map[string]int{"deleteLibrary": 409, "appendAssetVersion": 409, "legacyDownloadAsset": 404, "legacyAssetThumbnail": 404, "legacyFaceThumbnail": 404}[o.ID] // it is live; there is an edit; there are rows alone
		if status, body := m.send(request, o, authorization); status != wanted && (wanted != 0 || status >= 300) {
			t.Errorf("%s by who may: %d %.300s", pattern, status, body)
		}
	}
	// What is public tells and changes nothing, whoever calls and whatever is named:
	// a credential, too, is none for a media URL.
	for pattern := range api.Public {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{version}", victim["version_id"], "{variant}", "original", "{name}", "victim.jpg").Replace(path)
		values := url.Values{"expires": {"99999999999"}, "signature": {"AAAAAAAAAAAAAAAAAAAAAA"}}
		for _, name := range []string{"state", "code", "token", "refresh_token", "client_id", "consent", "redirect_uri"} {
			values.Set(name, victim["key_id"])
		}
		credentials := maps.Clone(unauthorised)
		credentials["the owner's key"], credentials["another user"] = fullKey, callers[0].authorization
		for name, authorization := range credentials {
			requests++
			status, body := m.public(method, path, values, authorization)
			if status >= 500 || callers[0].found(spec.Operation{}, strings.ReplaceAll(body, victim["key_id"], "ID")) != "" || strings.HasPrefix(path, "/media/") && status != http.StatusForbidden {
				t.Errorf("%s by %s: %d %.300s", pattern, name, status, body)
			}
		}
		m.unchanged(pattern)
	}
	if requests < 1000 {
		t.Errorf("only %d requests were sent", requests)
	}
	if err := s.Catalog.RestoreLibrary(t.Context(), tidyScope, binned); err != nil {
		t.Fatal(err)
	}
	for i, after := range []string{snapshot(t, people, owner, s.Library, victim), snapshot(t, people, tidy.ID, binned, trashed)} {
		if after != before[i] {
			t.Errorf("what was\n%s\nis now\n%s", before[i], after)
		}
	}
}

// snapshot is all that a user can read of a library.
func snapshot(t *testing.T, p *people_, user banksia.UserID, library banksia.LibraryID, objects map[string]string) string {
	t.Helper()
	var text strings.Builder
	session := p.session(user)
	for _, target := range []string{"/api/assets?state=all&include=metadata,people,faces,file_data,variants&", "/api/albums?", "/api/album-assets?", "/api/people?name_filter=all&", "/api/faces?", "/api/stacks?"} {
		answer := p.s.CallAs(t, session, "GET", target+"library_id="+library.String(), nil)
		if answer.Status != 200 || !strings.Contains(string(answer.Body), library.String()[4:]) && len(answer.Body) < 100 {
			t.Fatalf("%s: %d %s", target, answer.Status, answer.Body)
		}
		text.Write(answer.Body)
	}
	text.Write(p.s.CallAs(t, session, "GET", "/api/assets/"+objects["asset_id"]+"/versions", nil).Body)
	keys, err := p.s.Store.ListAPIKeys(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key.ID.String() == objects["key_id"] {
			fmt.Fprintln(&text, *key.Name, key.IsActive)
		}
	}
	return text.String()
}
