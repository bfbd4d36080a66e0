/**
 * The files of a policy as one tar archive (POSIX.1-1988 `ustar`), which every system unpacks.
 *
 * Names are those of a bundle: relative, of a few harmless characters, none leads out of its folder. A name that has no room in a header is split at a
 * slash, as the form asks; names of a bundle always have one where they need it. Owners are nobody's, so that an archive tells nothing of
 * this machine.
 */

import { type Bundle, isBundlePath } from '../../administration/policy-bundle.ts'

const block = 512
const longestName = 100
const longestPrefix = 155

/** One archive of all files. `now`: their time, in epoch milliseconds. */
export function writeArchive(bundle: Bundle, now: number): Buffer {
  const parts: Buffer[] = []
  for (const { content, path } of bundle) {
    parts.push(headerOf(path, content.length, now), content, Buffer.alloc((block - (content.length % block)) % block))
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * block)])
}

function headerOf(path: string, size: number, now: number): Buffer {
  const { name, prefix } = splitPath(path)
  const header = Buffer.alloc(block)
  const octal = (value: number, width: number) => value.toString(8).padStart(width - 1, '0')
  header.write(name, 0, longestName, 'latin1')
  header.write(octal(0o644, 8), 100, 'latin1')
  header.write(octal(0, 8), 108, 'latin1')
  header.write(octal(0, 8), 116, 'latin1')
  header.write(octal(size, 12), 124, 'latin1')
  header.write(octal(Math.floor(now / 1000), 12), 136, 'latin1')
  header.write('0', 156, 'latin1')
  header.write('ustar\u000000', 257, 'latin1')
  header.write(prefix, 345, longestPrefix, 'latin1')
  // The sum is made while its own field is spaces.
  header.write('        ', 148, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148, 'latin1')
  return header
}

function splitPath(path: string): { readonly name: string; readonly prefix: string } {
  if (!isBundlePath(path)) throw new TypeError('this is no path of a bundle')
  if (path.length <= longestName) return { name: path, prefix: '' }
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (name.length <= longestName && prefix.length <= longestPrefix) return { name, prefix }
  }
  throw new TypeError('this path has no room in an archive')
}
