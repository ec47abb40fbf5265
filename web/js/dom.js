// Building elements without markup strings, so that nothing a person or a model wrote is ever parsed as HTML.

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] names beginning with "on" become listeners, the others attributes;
 *   false, null and undefined leave the attribute out
 * @param {...(Node | string | null | undefined)} children
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The element with this id; a page without it is broken, and says so at once. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no element #${id}`);
  return node;
}
