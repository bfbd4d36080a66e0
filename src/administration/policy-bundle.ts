/**
 * A policy as the files that it is made of: what a revision holds, what a draft changes, what is handed out.
 *
 * Text and not values, so that comments, order and quoting stay as somebody wrote them. A bundle holds everything that the document names
 * (lists of networks, authorities, pictures) and its tests, so that it means the same on every machine.
 */

import { createHash } from 'node:crypto'

/** One file. */
export interface BundleFile {
  /** Relative, with slashes: `policy.yaml`, `networks/github.txt`. See `isBundlePath`. */
  readonly path: string
  readonly content: Buffer
}

/** The files, by path in the order of its bytes. The document is every `*.yaml` at the top level but `*.test.yaml`, which holds its tests. */
export type Bundle = readonly BundleFile[]

/** A thousand apps are 1.3 MB of text. */
export const mostBundleBytes = 4 * 1024 * 1024
export const mostBundleFiles = 200

/** Whether a file of a bundle may be called this: no way out of its folder, nothing hidden, nothing that another system reads differently. */
export function isBundlePath(path: string): boolean {
  return path.length <= 200 && /^(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(path)
}

/** Sorted, as every bundle is. */
export function toBundle(files: Iterable<BundleFile>): Bundle {
  return [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/** SHA-256 over names and contents, base64url: what an approval approves, and what tells two bundles apart. */
export function hashBundle(bundle: Bundle): string {
  const hash = createHash('sha256')
  for (const { content, path } of toBundle(bundle)) hash.update(`${path.length}:${path}:${content.length}:`).update(content)
  return hash.digest('base64url')
}
