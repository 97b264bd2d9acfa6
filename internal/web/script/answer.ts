import { element } from "./dom";
import { curl, type Request } from "./request";

/** Sends a request and shows what came back. */
export async function send(request: Request, output: HTMLElement): Promise<void> {
  const command = element("pre", { class: "curl" }, curl(request));
  output.replaceChildren(command, element("p", {}, "Waiting for the answer…"));
  const begin = performance.now();
  try {
    const answer = await fetch(request.url, { ...request, credentials: "same-origin", cache: "no-store" });
    const body = await answer.blob();
    const took = Math.round(performance.now() - begin);
    const type = answer.headers.get("Content-Type") ?? "";
    output.replaceChildren(
      command,
      element(
        "p",
        { class: answer.ok ? "status ok" : "status failed", "data-status": answer.status },
        `${answer.status} ${answer.statusText}`,
        element("span", { class: "type" }, ` ${took} ms, ${body.size} bytes`),
      ),
      headers(answer.headers),
    );
    if (/\bjson\b/.test(type)) {
      showJSON(await body.text(), output);
    } else if (type.startsWith("text/")) {
      output.append(element("pre", { class: "body" }, await body.text()));
    } else if (body.size > 0) {
      const address = URL.createObjectURL(body);
      output.append(element("p", {}, element("a", { href: address, download: "answer" }, `Save the ${type || "file"}`)));
    }
  } catch (problem) {
    output.replaceChildren(command, element("p", { class: "status failed" }, `No answer: ${String(problem)}`));
  }
}

function headers(all: Headers): HTMLElement {
  const lines = [...all].map(([name, value]) => `${name}: ${value}`).join("\n");
  return element("details", {}, element("summary", {}, "Headers"), element("pre", {}, lines));
}

function showJSON(text: string, output: HTMLElement): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    output.append(element("pre", { class: "body" }, text));
    return;
  }
  const pictures = thumbnails(value);
  if (pictures.length > 0) output.append(element("div", { class: "thumbnails" }, ...pictures));
  output.append(element("pre", { class: "body" }, JSON.stringify(value, null, 2)));
}

/** A picture for each asset, album, person or search result of an answer. */
function thumbnails(value: any): HTMLElement[] {
  const list: any[] = Array.isArray(value) ? value : Array.isArray(value?.data) ? value.data : [value];
  const pictures: HTMLElement[] = [];
  for (const item of list) {
    const asset = item?.asset ?? item;
    const urls = asset?.asset_urls;
    const variant = urls?.thumbnail ?? urls?.thumbnail_image;
    const whole = urls?.preview ?? urls?.preview_image ?? urls?.original ?? variant;
    if (typeof variant?.url !== "string") continue;
    const [picture, target] = [sameOrigin(variant.url), sameOrigin(whole.url)];
    if (!picture || !target) continue;
    const name = String(asset.original_file_name ?? asset.name ?? asset.id ?? "");
    pictures.push(
      element(
        "a",
        { href: target, target: "_blank", rel: "noreferrer", title: name },
        element("img", { src: picture, alt: name, loading: "lazy" }),
      ),
    );
  }
  return pictures;
}

/**
 * The address on this origin: the server may name itself by another one, from
 * which the page's policy allows no pictures. Nothing but http(s) becomes a link.
 */
function sameOrigin(address: string): string {
  try {
    const url = new URL(address, location.origin);
    return /^https?:$/.test(url.protocol) ? url.pathname + url.search : "";
  } catch {
    return "";
  }
}
