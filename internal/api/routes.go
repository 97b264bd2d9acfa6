package api

import (
	"net/http"

	"github.com/banksia-photos/banksia"
)

// routes is every operation of the server: the path, the action that a
// credential needs, and the handler. A row without an action is for everybody.
func (s *Server) routes() []route {
	return []route{
		{"GET /api/server/ping", "", s.ping},
		{"GET /healthz", "", s.healthz},
		{"GET /readyz", "", s.readyz},
		{"GET /openapi.json", "", s.openAPI},
		{"GET /media/{version}/{variant}/{name}", "", s.media},

		{"GET /api/oauth/auth-url", "", s.authURL},
		{"POST /api/oauth/exchange", "", s.exchangeCode},
		{"GET /api/oauth/logout-endpoint", "", s.logoutEndpoint},
		{"GET /login", "", s.loginPage},
		{"POST /login", "", s.signIn},

		{"GET /oauth/authorize", "", s.authorizePage},
		{"POST /oauth/authorize", "", s.authorize},
		{"GET /oauth/callback", "", s.authorizeCallback},
		{"POST /oauth/token", "", s.oauthToken},
		{"POST /oauth/revoke", "", s.oauthRevoke},
		{"POST /oauth/register", "", s.oauthRegister},
		{"GET /.well-known/oauth-authorization-server", "", s.authorizationServer},
		{"GET /.well-known/oauth-protected-resource", "", s.protectedResource},
		{"GET /.well-known/oauth-protected-resource/mcp", "", s.protectedResource},

		{"GET /api/api-keys/{$}", banksia.Read, s.listAPIKeys},
		{"POST /api/api-keys/{$}", banksia.Read, s.createAPIKey},
		{"PATCH /api/api-keys/{key_id}", banksia.Read, s.updateAPIKey},
		{"DELETE /api/api-keys/{key_id}", banksia.Read, s.deleteAPIKey},
		{"GET /api-keys/{$}", banksia.Read, s.listAPIKeys},
		{"POST /api-keys/{$}", banksia.Read, s.legacyCreateAPIKey},
		{"PATCH /api-keys/{key_id}", banksia.Read, s.updateAPIKey},
		{"DELETE /api-keys/{key_id}", banksia.Read, s.deleteAPIKey},

		{"GET /api/users/me", banksia.Read, s.getMe},
		{"GET /api/libraries", banksia.Read, s.listLibraries},
		{"POST /api/libraries", banksia.Write, s.createLibrary},
		{"GET /api/libraries/{library_id}", banksia.Read, s.getLibrary},
		{"PATCH /api/libraries/{library_id}", banksia.Write, s.updateLibrary},
		{"DELETE /api/libraries/{library_id}", banksia.DeletePermanently, s.deleteLibrary},
		{"POST /api/libraries/{library_id}/trash", banksia.Delete, s.trashLibrary},
		{"POST /api/libraries/{library_id}/restore", banksia.Delete, s.restoreLibrary},

		{"GET /api/assets", banksia.Read, s.listAssets},
		{"POST /api/assets", banksia.Write, s.createAsset},
		{"DELETE /api/assets", banksia.DeletePermanently, s.deleteAssets},
		{"POST /api/assets/trash", banksia.Delete, s.trashAssets},
		{"POST /api/assets/restore", banksia.Delete, s.restoreAssets},
		{"POST /api/assets/empty-trash", banksia.DeletePermanently, s.emptyTrash},
		{"GET /api/assets/counts", banksia.Read, s.countAssets},
		{"GET /api/assets/geo-clusters", banksia.Read, s.clusterAssets},
		{"POST /api/assets/exist", banksia.Read, s.checkAssetsExist},
		{"GET /api/assets/{asset_id}", banksia.Read, s.getAsset},
		{"POST /api/assets/bulk-update", banksia.Write, s.bulkUpdateAssets},
		{"PATCH /api/assets/{asset_id}", banksia.Write, s.updateAsset},
		{"DELETE /api/assets/{asset_id}", banksia.DeletePermanently, s.deleteAsset},
		{"GET /api/assets/{asset_id}/versions", banksia.Read, s.listVersions},
		{"POST /api/assets/{asset_id}/versions", banksia.Write, s.appendVersion},
		{"POST /api/assets/{asset_id}/versions/{version_id}/replace", banksia.Write, s.replaceVersion},
		{"DELETE /api/assets/{asset_id}/versions/{version_id}", banksia.Delete, s.deleteVersion},
		{"POST /api/assets/{asset_id}/versions/{version_id}/revert", banksia.Delete, s.revertVersion},
		{"GET /api/assets/{asset_id}/download", banksia.Read, s.legacyDownload},
		{"GET /api/assets/{asset_id}/thumbnail", banksia.Read, s.legacyThumbnail},

		{"GET /api/albums", banksia.Read, s.listAlbums},
		{"POST /api/albums", banksia.Write, s.createAlbum},
		{"GET /api/albums/{album_id}", banksia.Read, s.getAlbum},
		{"PATCH /api/albums/{album_id}", banksia.Write, s.updateAlbum},
		{"DELETE /api/albums/{album_id}", banksia.Delete, s.deleteAlbum},
		{"GET /api/albums/{album_id}/assets", banksia.Read, s.legacyAlbumAssets},
		{"POST /api/albums/{album_id}/assets", banksia.Write, s.addAlbumAssets},
		{"DELETE /api/albums/{album_id}/assets", banksia.Write, s.removeAlbumAssets},
		{"GET /api/album-assets", banksia.Read, s.listAlbumAssets},
		{"GET /api/album-assets/{album_asset_id}", banksia.Read, s.getAlbumAsset},

		{"GET /api/stacks", banksia.Read, s.listStacks},
		{"POST /api/stacks", banksia.Write, s.createStack},
		{"GET /api/stacks/{stack_id}", banksia.Read, s.getStack},
		{"PATCH /api/stacks/{stack_id}", banksia.Write, s.setStackCover},
		{"DELETE /api/stacks/{stack_id}", banksia.Write, s.deleteStack},
		{"POST /api/stacks/{stack_id}/assets", banksia.Write, s.addStackAssets},
		{"DELETE /api/stacks/{stack_id}/assets", banksia.Write, s.removeStackAssets},

		{"GET /api/people", banksia.Read, s.listPeople},
		{"POST /api/people", banksia.Write, s.createPerson},
		{"GET /api/people/{person_id}", banksia.Read, s.getPerson},
		{"PATCH /api/people/{person_id}", banksia.Write, s.updatePerson},
		{"DELETE /api/people/{person_id}", banksia.Delete, s.deletePerson},
		{"POST /api/people/{person_id}/merge", banksia.Write, s.mergePeople},
		{"GET /api/faces", banksia.Read, s.listFaces},
		{"POST /api/faces", banksia.Write, s.createFace},
		{"GET /api/faces/{face_id}", banksia.Read, s.getFace},
		{"PATCH /api/faces/{face_id}", banksia.Write, s.updateFace},
		{"DELETE /api/faces/{face_id}", banksia.Delete, s.deleteFace},
		{"GET /api/faces/{face_id}/thumbnail", banksia.Read, s.legacyFaceThumbnail},

		{"GET /api/search", banksia.Read, s.search},
		{"POST /api/search", banksia.Read, s.searchByImage},

		{"GET /api/events", banksia.Read, s.listEvents},
		{"GET /api/v2/events", banksia.Read, s.listEvents},

		{"GET /api/tasks/{$}", banksia.Read, s.listTasks},
		{"GET /api/tasks/{task_id}", banksia.Read, s.getTask},
		{"GET /api/tasks/asset/{asset_id}", banksia.Read, s.listAssetTasks},
	}
}

// racing are the operations whose documentation has a status for losing against
// another change.
var racing = map[string]bool{"DELETE /api/people/{person_id}": true, "POST /api/stacks": true, "DELETE /api/stacks/{stack_id}": true, "POST /api/stacks/{stack_id}/assets": true}

// ping tells that the server is there (behaviour 4.12).
func (s *Server) ping(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	return send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("pong"))
}

// openAPI is GET /openapi.json.
func (s *Server) openAPI(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	return send(w, http.StatusOK, "application/json", s.document)
}
