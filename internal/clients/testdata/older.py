"""What a client of an older SDK does: its arguments are the URL of the server, an
API key, and a folder with photos."""

import pathlib
import sys

import gumnut
import httpx
from gumnut import Gumnut

url, key, folder = sys.argv[1:]
photo = sorted(pathlib.Path(folder).glob("*.jpg"))[0]
client = Gumnut(api_key=key, base_url=url, max_retries=0, _strict_response_validation=True)
headers = {"Authorization": "Bearer " + key}

assert client.users.me().id.startswith("intuser_")
asset = client.assets.create(asset_data=photo, device_asset_id="1", device_id="old", file_created_at="2024-05-01T12:00:00Z", file_modified_at="2024-05-01T12:00:00Z")
page = client.assets.list(limit=5)
listed = {one.id: one for one in page}[asset.id]
assert listed.checksum == asset.checksum and listed.device_id and listed.exif is not None, listed
assert client.assets.retrieve(asset.id).original_file_name == asset.original_file_name
assert client.assets.check_existence(checksums=[asset.checksum]).assets[0].id == asset.id
if hasattr(client.assets, "download"):  # until 0.67
    assert client.assets.download(asset.id).read() == photo.read_bytes()
    assert client.assets.download_thumbnail(asset.id, size="thumbnail").read()
else:
    assert httpx.get(url + f"/api/assets/{asset.id}/download", headers=headers, follow_redirects=True).content == photo.read_bytes()
album = client.albums.create(name="Old")
client.albums.assets_associations.add(album.id, asset_ids=[asset.id])
assert asset.id in [one.id for one in client.assets.list(album_id=album.id)]
bare = httpx.get(url + f"/api/albums/{album.id}/assets", headers=headers).json()
assert [one["id"] for one in bare] == [asset.id] and "exif" in bare[0]
person = client.people.create(name="Grandma")
assert [one.id for one in client.people.list(name="grand")] == [person.id]
assert client.events.get(entity_types="asset,exif", limit=5).data
assert client.search.search(query=photo.stem).data
assert [one.id for one in client.libraries.list()]
client.people.delete(person.id)
client.albums.delete(album.id)
print("SDK", gumnut.__version__, "is content")
