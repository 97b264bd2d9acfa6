"""A story over every resource, told with the official SDK, which checks every
answer strictly. Its arguments: the URL of the server, an address, a password, and
a folder with the photos 0.jpg to 5.jpg."""

import base64
import hashlib
import html
import pathlib
import re
import secrets
import sys
import time
import urllib.parse

import gumnut
import httpx
from gumnut import Gumnut

url, email, password, folder = sys.argv[1:]
photos = sorted(pathlib.Path(folder).glob("*.jpg"))


def client(key):
    return Gumnut(api_key=key, base_url=url, max_retries=0, _strict_response_validation=True)


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except gumnut.APIStatusError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"{call} was not refused")


# Sign in: the browser's part is played by httpx.
nobody = client("nothing")
refused(401, nobody.users.me)
assert nobody.ping.get() == "pong"
verifier = secrets.token_urlsafe(48)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
start = nobody.oauth.auth_url(redirect_uri="http://localhost:9/auth/login", code_challenge=challenge, code_challenge_method="S256")
page = httpx.get(start.url)
assert page.status_code == 200, page
state = html.unescape(re.search(r'name="state" value="([^"]*)"', page.text).group(1))
answer = httpx.post(url + "/login", data={"state": state, "email": email, "password": password})
assert answer.status_code == 303, answer.text
back = urllib.parse.parse_qs(urllib.parse.urlparse(answer.headers["location"]).query)
session = nobody.oauth.exchange(code=back["code"][0], state=back["state"][0], code_verifier=verifier)
assert session.user.email == email, session
assert nobody.oauth.logout_endpoint().logout_endpoint.startswith("http")
me = client(session.access_token)
assert me.users.me().email == email

# Keys.
made = me.api_keys.create(name="story", actions=["read", "write", "delete", "delete_permanently"], library_scope_mode="all_libraries")
key = client(made.api_key)
refused(403, key.api_keys.list)
spare = me.api_keys.create(name="spare", actions=["read"], library_scope_mode="all_libraries")
me.api_keys.update(spare.id, name="renamed")
me.api_keys.delete(spare.id)
refused(401, client(spare.api_key).users.me)
keys = {one.name: one.is_active for one in me.api_keys.list()}
assert keys == {"story": True, "renamed": False}, keys

# Upload, and the same again.
assets = []
for number, photo in enumerate(photos):
    arguments = dict(
        asset_data=photo, device_asset_id=str(number), device_id="story",
        file_created_at=f"2024-05-0{number + 1}T12:00:00+02:00", file_modified_at="2024-05-01T12:00:00",
    )
    assets.append(key.assets.create(**arguments))
    assert key.assets.create(**arguments).id == assets[-1].id
ids = [asset.id for asset in assets]
library = key.libraries.list()[0]
assert library.asset_count == len(ids), library

# Page, and every way to ask.
assert [asset.id for asset in key.assets.list(limit=2)] == ids[::-1]
assert [asset.id for asset in key.assets.list(limit=4, order="asc", include=["metadata", "faces", "people", "file_data", "variants", "metrics"])] == ids
one = key.assets.retrieve(ids[0], include=["file_data", "variants"])
sha256 = base64.b64encode(hashlib.sha256(photos[0].read_bytes()).digest()).decode()
assert one.file_data.checksum == sha256
assert httpx.get(one.asset_urls["original"].url).content == photos[0].read_bytes()
assert httpx.get(one.asset_urls["thumbnail"].url).headers["content-type"].startswith("image/")
found = key.assets.check_existence(checksums=[sha256, "unknown"])
assert [asset.id for asset in found.assets] == ids[:1], found
assert key.assets.counts(group_by="month").data[0].count == len(ids)

# Edit.
edited = key.assets.update_asset(ids[1], description="by the sea", latitude=52.52, longitude=13.4, original_datetime="2020-01-02T03:04:05")
assert edited.metadata.description == "by the sea" and edited.metadata.latitude == 52.52
key.assets.bulk_update_assets(updates=[{"id": ids[2], "change": {"description": "a tree"}}, {"id": ids[3], "change": {"description": "a tree too"}}])
clusters = key.assets.cluster_by_geo(bbox="-180,-90,180,90", cell_size=1)
assert clusters.data[0].representative_asset_id == ids[1], clusters

# Versions.
assert [version.kind for version in key.assets.versions.list(ids[0])] == ["original"]
version = key.assets.versions.append(ids[0], file=("edit.jpg", photos[5].read_bytes(), "image/jpeg"), kind="edit", params='{"crop": 1}')
assert version.position == 1 and version.params == {"crop": 1}, version
version = key.assets.versions.replace(version.id, asset_id=ids[0], file=photos[4], kind="external:studio", params="{}")
assert key.assets.retrieve(ids[0]).current_version_id == version.id
assert len(key.assets.versions.list(ids[0], include=["variants"])) == 2
reverted = key.assets.versions.revert(key.assets.versions.list(ids[0])[0].id, asset_id=ids[0])
assert reverted.kind == "original"
version = key.assets.versions.append(ids[0], file=photos[5], kind="edit", params="{}")
assert key.assets.versions.delete(version.id, asset_id=ids[0]).kind == "original"

# Albums.
album = key.albums.create(name="Holiday", description="2024")
added = key.albums.assets_associations.add(album.id, asset_ids=[ids[0], ids[1], "asset_BM3nUmJ6fkBqBADyz5FEiu"])
assert len(added.added_assets) == 2 and len(added.not_found_assets) == 1, added
album = key.albums.update(album.id, name="Holidays", album_cover_asset_id=ids[0])
assert album.asset_count == 2 and album.album_cover_asset_id == ids[0], album
assert [one.id for one in key.albums.list(asset_id=ids[1])] == [album.id]
links = list(key.album_assets.list(album_id=album.id))
assert len(links) == 2 and key.album_assets.get(links[0].id).album_id == album.id
key.albums.assets_associations.remove(album.id, asset_ids=[ids[0]])
assert key.albums.retrieve(album.id).asset_count == 1

# People and faces.
ada, grace = key.people.create(name="Ada"), key.people.create(name="Grace")
face = key.faces.create(asset_id=ids[2], bounding_box={"x": 1, "y": 2, "w": 30, "h": 30}, person_id=ada.id)
other = key.faces.create(asset_id=ids[3], bounding_box={"x": 1, "y": 2, "w": 30, "h": 30}, person_id=grace.id)
assert face.source == "manual" and face.confidence is None
assert [person.name for person in key.people.list(sort="name_asc", include=["cluster_metrics"])] == ["Ada", "Grace"]
assert httpx.get(key.faces.retrieve(face.id).asset_urls["thumbnail"].url).status_code == 200
assert [one.id for one in key.faces.list(person_id=ada.id, include=["cluster_assignment"])] == [face.id]
assert key.faces.update(other.id, person_id=None).person_id is None
key.faces.update(other.id, person_id=grace.id)
merged = key.people.merge(ada.id, source_person_ids=[grace.id])
assert merged.id == ada.id and merged.asset_count == 2, merged
ada = key.people.update(ada.id, is_favorite=True, birth_date="1815-12-10")
assert ada.is_favorite and str(ada.birth_date) == "1815-12-10", ada
assert key.people.retrieve(ada.id).name == "Ada"
key.faces.delete(other.id)

# Stacks.
stack = key.stacks.create_stack(asset_ids=ids[2:4], primary_asset_id=ids[2])
assert stack.asset_count == 2 and stack.primary_asset_id == ids[2]
assert key.stacks.add_assets_to_stack(stack.id, asset_ids=[ids[4]]).asset_count == 3
assert key.stacks.set_cover(stack.id, primary_asset_id=ids[4]).primary_asset_id == ids[4]
key.stacks.remove_assets(stack.id, asset_ids=[ids[4]])
assert [one.id for one in key.stacks.list_stacks()] == [stack.id]
assert key.stacks.retrieve_stack(stack.id).primary_asset_id is None
assert {asset.id for asset in key.assets.list(stack_id=stack.id)} == set(ids[2:4])

# Search.
hits = key.search.search(query="tree")
assert {hit.asset.id for hit in hits.data} == set(ids[2:4]), hits
assert [hit.asset.id for hit in key.search.search(query="ada", include=["people"]).data] == [ids[2]]
assert [hit.asset.id for hit in key.search.search_assets(image=photos[4], person_ids=[]).data] == [ids[4]]
refused(400, key.search.search)

# Tasks.
for _ in range(200):
    tasks = key.tasks.list(limit=200)
    if all(task.status not in ("pending", "started") for task in tasks):
        break
    time.sleep(0.05)
assert any(task.task_type == "thumbhash" and task.status == "success" for task in tasks), tasks
assert key.tasks.get(tasks[0].id).id == tasks[0].id
assert key.tasks.list_for_asset(ids[0])

# Trash, restore, delete.
key.assets.trash(ids=ids[:2])
assert {asset.id for asset in key.assets.list(state="trashed")} == set(ids[:2])
key.assets.restore(ids=[ids[0]])
key.assets.empty_trash()
refused(404, key.assets.retrieve, ids[1])
key.assets.delete(ids[5])
key.assets.delete_list(ids=[ids[4]])
assert {asset.id for asset in key.assets.list(state="all")} == {ids[0], ids[2], ids[3]}

# Libraries.
second = key.libraries.create(name="Second", description="two")
refused(400, key.assets.list)
assert key.libraries.update(second.id, name="Other").name == "Other"
refused(409, key.libraries.delete, second.id)
key.libraries.trash(second.id)
assert [one.name for one in key.libraries.list(state="trashed")] == ["Other"]
assert key.libraries.restore(second.id).id == second.id
key.libraries.trash(second.id)
key.libraries.delete(second.id)
assert key.libraries.retrieve(library.id).asset_count == 3

# Events, as a sync client reads them. Those of what is gone may be compacted by now.
seen, cursor = {}, gumnut.NOT_GIVEN
while True:
    page = key.events.get(limit=50, **({"after_cursor": cursor} if isinstance(cursor, str) else {}))
    for event in page.data:
        seen.setdefault(event.event_type, []).append(event.entity_id)
        cursor = event.cursor
    if not page.has_more:
        break
for kind in ("asset_created", "asset_updated", "asset_deleted", "album_created", "album_updated", "album_asset_removed", "person_created", "person_deleted",
             "face_created", "face_deleted", "stack_created", "stack_updated", "metadata_updated"):
    assert kind in seen, kind
assert set(seen["asset_deleted"]) == {ids[1], ids[4], ids[5]}

# The rest goes, too.
key.stacks.delete(stack.id)
key.people.delete(ada.id)
key.albums.delete(album.id)
assert not list(key.stacks.list_stacks()) and not list(key.people.list(name_filter="all")) and not list(key.albums.list())
print("the story is told")
