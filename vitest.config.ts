import { defineConfig } from 'vitest/config'

const shared = { environment: 'node', pool: 'forks' as const, restoreMocks: true }
const story = { ...shared, testTimeout: 60_000, hookTimeout: 180_000 }

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'unit', include: ['src/**/*.test.ts', 'docs/**/*.test.ts'], testTimeout: 20_000 } },
      { test: { ...story, name: 'attacks', include: ['e2e/attacks/*.e2e.ts'] } },
      // One at a time: these measure memory and delays, use ports that others know, and drive browsers and Keycloak.
      { test: { ...story, name: 'e2e', include: ['e2e/*.e2e.ts'], fileParallelism: false } },
    ],
  },
})
