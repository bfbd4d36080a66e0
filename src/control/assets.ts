/**
 * The files of our own pages under names that follow their content: `/.postern/assets/<hash>.<ext>`.
 *
 * Everything is read at start (pictures of apps when a policy is compiled) and served from memory. A name that is not in
 * the map does not exist; no path of a request ever reaches the file system. Pictures are recognised by their content,
 * never by the name of the file.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Asset } from './pages.ts'

/** Enough for any sensible logo; keeps a photograph in print size out of memory and off a phone's connection. */
const maxPictureBytes = 512 * 1024

const textTypes = {
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

function recognisePicture(body: Buffer): { extension: string; type: string } | undefined {
  if (body.subarray(0, 8).equals(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])))
    return { extension: 'png', type: 'image/png' }
  if (body.subarray(0, 3).equals(Buffer.from([0xff, 0xd8, 0xff]))) return { extension: 'jpg', type: 'image/jpeg' }
  if (body.toString('latin1', 0, 4) === 'RIFF' && body.toString('latin1', 8, 12) === 'WEBP')
    return { extension: 'webp', type: 'image/webp' }
  const head = body.toString('utf8', 0, 1024).trimStart()
  if (/^(?:\uFEFF)?(?:<\?xml[^>]*>\s*)?(?:<!--[\s\S]*?-->\s*)*<svg[\s>]/.test(head))
    return { extension: 'svg', type: 'image/svg+xml; charset=utf-8' }
  return undefined
}
