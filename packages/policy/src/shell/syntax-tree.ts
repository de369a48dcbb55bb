import type { Tree, TreeCursor } from 'web-tree-sitter';

/** A node of the syntax tree, copied out of the parser's memory. */
export interface ShellNode {
  /** As the grammar calls it, such as `command`; for punctuation the text itself. */
  readonly type: string;
  /** Its role in the node above, such as `argument`; empty without. */
  readonly field: string;
  /** First code unit and the one after the last. */
  readonly start: number;
  readonly end: number;
  readonly children: readonly ShellNode[];
}

/** A parsed text. */
export interface ShellTree {
  readonly text: string;
  readonly root: ShellNode;
  /** Something in the text is no shell grammar. */
  readonly broken: boolean;
  /** The tree was larger or deeper than is copied. */
  readonly clipped: boolean;
}

const maxNodes = 20_000;
/** A chain `a && b && c` nests once per command. */
const maxDepth = 400;

type OpenNode = ShellNode & { readonly children: ShellNode[] };

/** Copies a tree, without recursion, as far as the bounds allow. The caller deletes the original. */
export function copyTree(tree: Tree, text: string): ShellTree {
  const cursor = tree.walk();
  try {
    const broken = cursor.currentNode.hasError;
    const { root, clipped } = copyNodes(cursor);
    return { text, root, broken, clipped };
  } finally {
    cursor.delete();
  }
}

function copyNodes(cursor: TreeCursor): { root: ShellNode; clipped: boolean } {
  const root = copyNode(cursor);
  const path = [root];
  let count = 1;
  let clipped = false;
  let descend = cursor.gotoFirstChild();
  if (!descend) return { root, clipped };
  for (;;) {
    const parent = path[path.length - 1];
    if (parent === undefined) break;
    const node = copyNode(cursor);
    parent.children.push(node);
    count += 1;
    if (count >= maxNodes) return { root, clipped: true };
    descend = cursor.gotoFirstChild();
    if (descend && path.length >= maxDepth) {
      clipped = true;
      cursor.gotoParent();
      descend = false;
    }
    if (descend) {
      path.push(node);
      continue;
    }
    while (path.length > 0 && !cursor.gotoNextSibling()) {
      path.pop();
      if (path.length > 0) cursor.gotoParent();
    }
  }
  return { root, clipped };
}

function copyNode(cursor: TreeCursor): OpenNode {
  return {
    type: cursor.nodeType,
    field: cursor.currentFieldName ?? '',
    start: cursor.startIndex,
    end: cursor.endIndex,
    children: [],
  };
}

/** The text a node covers. */
export const textOf = (tree: ShellTree, node: ShellNode): string => tree.text.slice(node.start, node.end);
