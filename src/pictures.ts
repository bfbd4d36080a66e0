/**
 * Which pictures our own pages show: PNG, JPEG, WebP and SVG, recognised by their content, of a size that fits a phone's connection.
 *
 * Asked when a configuration is read, which refuses any other file, and again when the file is taken in. The name of a file is never
 * believed. An SVG may carry script; it runs neither in a picture nor, by the policy on our assets, when opened by its address.
 */

/** Enough for any sensible logo; keeps a photograph in print size out of memory. */
export const maxPictureBytes = 512 * 1024

/** What a message says that it expected. */
export const pictureWords = 'a PNG, JPEG, WebP or SVG picture of at most 512 KiB'

/** Extension and media type of a picture. */
export interface PictureFormat {
  readonly extension: 'png' | 'jpg' | 'webp' | 'svg'
  readonly type: string
}

const pngSignature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const jpegSignature = Buffer.from([0xff, 0xd8, 0xff])
/** Each comment ends at its first `-->`: with a looser pattern a row of comments takes exponential time. */
const svgStart =
  /^\uFEFF?(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->)[\s\S])*-->\s*)*(?:<!DOCTYPE svg[^>[]*>\s*)?(?:<!--(?:(?!-->)[\s\S])*-->\s*)*<svg[\s>]/

/** The format of `body`; `undefined` for anything that is no such picture. Its size is the caller's to judge. */
export function recognisePicture(body: Buffer): PictureFormat | undefined {
  if (body.subarray(0, 8).equals(pngSignature)) return { extension: 'png', type: 'image/png' }
  if (body.subarray(0, 3).equals(jpegSignature)) return { extension: 'jpg', type: 'image/jpeg' }
  if (body.toString('latin1', 0, 4) === 'RIFF' && body.toString('latin1', 8, 12) === 'WEBP')
    return { extension: 'webp', type: 'image/webp' }
  const head = body.toString('utf8', 0, 4096).trimStart()
  return svgStart.test(head) ? { extension: 'svg', type: 'image/svg+xml; charset=utf-8' } : undefined
}
