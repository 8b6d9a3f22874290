/** The time, for what is shown for a while only: told each second while something is. */

import { useEffect, useState } from "preact/hooks";

export function useTicking(on: boolean): number {
  const [, setTick] = useState(0);
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => setTick(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [on]);
  return Date.now();
}
