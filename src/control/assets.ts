/**
 * The files of our own pages under names that follow their content: `/.postern/assets/<hash>.<ext>`.
 *
 * Everything is read at start (pictures of apps when a policy is compiled) and served from memory. A name that is not in
 * the map does not exist; no path of a request ever reaches the file system. Pictures are recognised by their content,
 * never by the name of the file.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { maxPictureBytes, recognisePicture } from '../pictures.ts'
import type { Asset } from './pages.ts'

/** Media types of our own texts. */
export const textTypes = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml; charset=utf-8',
} as const

/** A set of assets. `add…` gives the address to use in a page. */
export interface Assets {
  /** Files of the views folder, joined into one asset. Throws what reading them throws. */
  addFiles(paths: readonly string[], extension: 'css' | 'js' | 'svg'): string
  /** A PNG, JPEG, WebP or SVG picture; `undefined` if it cannot be read, is too large or is none of these. */
  addPicture(path: string): string | undefined
  /** By `<hash>.<ext>`; `undefined` for any other name. */
  find(name: string): Asset | undefined
}

/** An empty set. */
export function createAssets(): Assets {
  const byName = new Map<string, Asset>()

  function add(body: Buffer, extension: string, type: string): string {
    const name = `${createHash('sha256').update(body).digest('hex').slice(0, 20)}.${extension}`
    byName.set(name, { type, body })
    return `/.postern/assets/${name}`
  }

  return {
    addFiles: (paths, extension) => add(Buffer.concat(paths.map((path) => readFileSync(path))), extension, textTypes[extension]),
    addPicture(path) {
      const body = readPicture(path)
      const format = body === undefined ? undefined : recognisePicture(body)
      return body === undefined || format === undefined ? undefined : add(body, format.extension, format.type)
    },
    find: (name) => byName.get(name),
  }
}

/** `undefined` where the file cannot be read or is too large: the page then shows a monogram, which is no failure. */
function readPicture(path: string): Buffer | undefined {
  try {
    const body = readFileSync(path)
    return body.length <= maxPictureBytes ? body : undefined
  } catch {
    // A missing logo must not keep a policy from becoming current; `undefined` tells the caller, who may warn.
    return undefined
  }
}
