/** What a Zstandard frame says of itself before anything is unpacked (RFC 8878 §3.1.1.1). */

/** So many bytes hold every frame header. */
export const longestHeaderBytes = 18

const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const dictionaryIdBytes = [0, 1, 2, 4] as const

/** Bytes that the frame holds unpacked; `undefined` where it does not say, or is none. What it says is a claim: unpacking it shows whether it is true. */
export function readContentSize(header: Buffer): number | undefined {
  if (header.length < longestHeaderBytes || !header.subarray(0, magic.length).equals(magic)) return undefined
  const descriptor = header.readUInt8(magic.length)
  const isSingleSegment = (descriptor & 0b10_0000) !== 0
  const at = magic.length + 1 + (isSingleSegment ? 0 : 1) + (dictionaryIdBytes[descriptor & 0b11] ?? 0)
  switch (descriptor >> 6) {
    case 0:
      return isSingleSegment ? header.readUInt8(at) : undefined
    case 1:
      return header.readUInt16LE(at) + 256
    case 2:
      return header.readUInt32LE(at)
    default:
      return Number(header.readBigUInt64LE(at))
  }
}
