import { element, prose } from "./dom";
import { endpointView } from "./endpoint";
import { endpointsByTag, type OpenAPI } from "./openapi";

// The key lives as long as the tab, so that a shared computer does not keep it.
const storedKey = "banksia.api-key";

function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

async function start(): Promise<void> {
  const key = byId<HTMLInputElement>("key");
  key.value = sessionStorage.getItem(storedKey) ?? "";
  key.addEventListener("input", () => sessionStorage.setItem(storedKey, key.value.trim()));

  const main = byId("operations");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show((await answer.json()) as OpenAPI, main, () => key.value.trim());
  } catch (problem) {
    main.replaceChildren(element("p", { class: "status failed" }, `The API's document could not be loaded: ${String(problem)}`));
  }
}

function show(api: OpenAPI, main: HTMLElement, key: () => string): void {
  const navigation = byId("tags");
  const groups = endpointsByTag(api);
  byId("title").textContent = `${api.info.title} ${api.info.version}`;
  main.replaceChildren();
  for (const [tag, endpoints] of groups) {
    const id = "tag-" + tag.toLowerCase().replace(/[^a-z0-9]+/g, "-");
    navigation.append(element("a", { href: "#" + id }, tag));
    const described = api.tags?.find((t) => t.name === tag)?.description;
    main.append(
      element(
        "section",
        { class: "tag", id },
        element("h2", {}, tag),
        described ? prose(described) : null,
        ...endpoints.map((endpoint) => endpointView(api, endpoint, key)),
      ),
    );
  }
  const search = byId<HTMLInputElement>("search");
  search.addEventListener("input", () => filter(main, search.value));
  const follow = (): void => open(decodeURIComponent(location.hash.slice(1)));
  window.addEventListener("hashchange", follow);
  follow();
  main.dataset.ready = String([...groups.values()].flat().length);
}

/** Shows the operations that hold every word. */
function filter(main: HTMLElement, text: string): void {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of main.querySelectorAll<HTMLElement>("section.tag")) {
    let shown = 0;
    for (const operation of section.querySelectorAll<HTMLElement>(".operation")) {
      operation.hidden = !words.every((word) => operation.dataset.search!.includes(word));
      if (!operation.hidden) shown++;
    }
    section.hidden = shown === 0;
  }
}

/** Opens the operation that the address names: /docs#listAssets. */
function open(id: string): void {
  const target = id ? document.getElementById(id) : null;
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

void start();
