// Makes elements. Text becomes text and never markup; styles come from classes alone.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    } else if (name === "value") {
      node.value = value;
    } else {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Sets the text of a node, where it is another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute, where it is another one; null takes it away. */
export function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/**
 * Gives a node these children, where they are others than it has: what is selected stays, and nothing is said aloud again. The children
 * have no listeners.
 */
export function renew(node, children) {
  const is = node.childNodes;
  const isSame = is.length === children.length && children.every((child, place) => child.isEqualNode(is[place]));
  if (!isSame) node.replaceChildren(...children);
}

/**
 * The children of a container, one for each item, in order. A child stays as long as its key is there, so that focus and
 * scroll position stay. `make` gives a child with a method `show(item)`; a key comes once.
 */
export class Children {
  #container;
  #key;
  #make;
  #shown = new Map();

  constructor(container, key, make) {
    this.#container = container;
    this.#key = key;
    this.#make = make;
  }

  show(items) {
    const left = new Map(this.#shown);
    let next = this.#container.firstChild;
    for (const item of items) {
      const key = this.#key(item);
      let child = this.#shown.get(key);
      if (!child) {
        child = this.#make(item);
        this.#shown.set(key, child);
      }
      left.delete(key);
      child.show(item);
      if (child.node === next) next = next.nextSibling;
      else this.#container.insertBefore(child.node, next);
    }
    for (const [key, child] of left) {
      this.#shown.delete(key);
      child.node.remove();
    }
  }
}
