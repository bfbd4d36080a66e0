import { defineConfig } from 'vitest/config'

const shared = { environment: 'node', pool: 'forks' as const, restoreMocks: true }

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'unit', include: ['src/**/*.test.ts', 'docs/**/*.test.ts'], testTimeout: 20_000 } },
      { test: { ...shared, name: 'e2e', include: ['e2e/**/*.e2e.ts'], testTimeout: 60_000, hookTimeout: 180_000, fileParallelism: false } },
    ],
  },
})
