// Elements are made from text, never from markup: nothing in a photo's name or in
// an answer can become part of the page.

type Attributes = Record<string, string | boolean | number | undefined>;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string | null | undefined)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) made.append(child);
  return made;
}

/** Text in which `names` become code, as the document writes them. */
export function prose(text: string | undefined): HTMLElement {
  const paragraph = element("p");
  (text ?? "").split("`").forEach((part, i) => {
    if (part) paragraph.append(i % 2 ? element("code", {}, part) : part);
  });
  return paragraph;
}
