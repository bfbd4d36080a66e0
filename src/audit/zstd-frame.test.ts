/** What frames of every size say of themselves, in every form that the header has. */

import { constants, createZstdCompress } from 'node:zlib'
import { expect, it } from 'vitest'
import { longestHeaderBytes, readContentSize } from './zstd-frame.ts'

async function pack(size: number, announced: number | undefined): Promise<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 }
  const packing = createZstdCompress({ params, ...(announced === undefined ? {} : { pledgedSrcSize: announced }) })
  packing.end(Buffer.from(Array.from({ length: size }, (_, index) => (index * 7919) % 251)))
  const pieces: Buffer[] = []
  for await (const piece of packing as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}

it.each([20, 255, 256, 257, 65_791, 65_792, 3_000_000])('a frame of %i bytes says so', async (size) => {
  expect(readContentSize((await pack(size, size)).subarray(0, longestHeaderBytes))).toBe(size)
})

it('one that does not say is of no known size, nor is what is no frame, or no header', async () => {
  expect(readContentSize((await pack(70_000, undefined)).subarray(0, longestHeaderBytes))).toBeUndefined()
  const frame = await pack(70_000, 70_000)
  expect(readContentSize(frame.subarray(0, longestHeaderBytes - 1))).toBeUndefined()
  expect(readContentSize(Buffer.concat([Buffer.from('no'), frame]).subarray(0, longestHeaderBytes))).toBeUndefined()
})

it('a size beyond four bytes, and one behind the number of a dictionary, are read where they stand', () => {
  const header = (descriptor: number, ...rest: number[]) =>
    Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor, ...rest]), Buffer.alloc(longestHeaderBytes)]).subarray(
      0,
      longestHeaderBytes,
    )
  expect(readContentSize(header(0b1100_0000, 0x48, 0, 0, 0, 0, 2))).toBe(2 * 2 ** 32)
  expect(readContentSize(header(0b1000_0011, 0x48, 1, 2, 3, 4, 5))).toBe(5)
  expect(readContentSize(header(0b0010_0001, 9, 7))).toBe(7)
})
