/** Which model answers: a button and the list behind it, with what each model is and does. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ModelEntry } from "@wsserver/client";
import { Check, Chevron } from "@wsserver/shared/components/icons.js";
import { chooseModel, currentModel, loadErrors, loads, models, refreshModels } from "@wsserver/shared/state/models.js";

export function ModelPicker() {
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(0);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const list = models.value;
  const current = currentModel.value;

  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const show = () => {
    setActive(Math.max(0, list.findIndex((model) => model === current)));
    setOpen(true);
    void refreshModels();
  };
  const choose = (model: ModelEntry | undefined) => {
    if (!model) return;
    chooseModel(model);
    // A load goes on in the open list, where its progress is.
    if (model.status === "ready" || model.status === "loading") close();
  };
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: list.length - 1 };
    const next = moves[event.key];
    if (!open) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        show();
      }
    } else if (next !== undefined) {
      event.preventDefault();
      setActive(Math.min(list.length - 1, Math.max(0, next)));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(list[active]);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") setOpen(false);
  };

  return (
    <div class="picker" ref={root} onKeyDown={onKeyDown}>
      <button
        type="button"
        ref={button}
        class="picker-button"
        role="combobox"
        aria-haspopup="listbox"
        aria-expanded={open}
        aria-controls="models"
        aria-label={`Model: ${current?.id ?? "none"}`}
        aria-activedescendant={open ? `model-${active}` : undefined}
        onClick={() => (open ? close() : show())}
        data-testid="model-picker"
      >
        {current && <StatusDot model={current} />}
        <span class="picker-name">{current?.id ?? "No model"}</span>
        <Chevron />
      </button>
      {open && (
        <div class="popover">
          {list.length === 0 && <p class="empty">This server has no models yet.</p>}
          <ul id="models" role="listbox" aria-label="Models">
            {list.map((model, index) => (
              <Option
                key={model.id}
                id={`model-${index}`}
                model={model}
                chosen={model === current}
                active={index === active}
                onPick={() => choose(model)}
                onHover={() => setActive(index)}
              />
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

interface OptionProps {
  id: string;
  model: ModelEntry;
  chosen: boolean;
  active: boolean;
  onPick(): void;
  onHover(): void;
}

function Option({ id, model, chosen, active, onPick, onHover }: OptionProps) {
  const load = loads.value[model.id];
  const error = loadErrors.value[model.id];
  return (
    <li
      id={id}
      role="option"
      aria-selected={chosen}
      class={active ? "option active" : "option"}
      onClick={onPick}
      onPointerMove={onHover}
      data-testid="model-option"
      data-model={model.id}
      data-status={model.status}
    >
      <div class="option-title">
        <StatusDot model={model} />
        <strong>{model.id}</strong>
        {model.default && <span class="tag">default</span>}
        {chosen && <span class="chosen"><Check /></span>}
      </div>
      {model.description && <p>{model.description}</p>}
      <p class="facts">{facts(model).join(" · ")}</p>
      {load && (
        <div class="progress" role="progressbar" aria-label={load.stage} aria-valuenow={Math.round(load.progress * 100)}>
          <div style={{ width: `${Math.round(load.progress * 100)}%` }} />
        </div>
      )}
      {error && <p class="field-error">{error}</p>}
    </li>
  );
}

function StatusDot({ model }: { model: ModelEntry }) {
  const tone = { ready: "good", loading: "busy", unloaded: "off", failed: "bad" }[model.status];
  return <span class={`dot ${tone}`} title={STATUS[model.status]} />;
}

const STATUS = {
  ready: "Ready",
  loading: "Loading…",
  unloaded: "Not loaded: choose it to load it",
  failed: "Failed to load: choose it to try again",
};

function facts(model: ModelEntry): string[] {
  // Ids tell models apart; the file's own name may be the same for two of them.
  const found = model.name === model.id ? [] : [model.name];
  found.push(model.status === "ready" ? model.engine : STATUS[model.status]);
  if (model.size > 0) found.push(bytes(model.size));
  if (model.contextLength > 0) found.push(`${tokens(model.contextLength)} context`);
  if (model.activeStreams > 0) found.push(`${model.activeStreams} of ${model.slots} busy`);
  return found;
}

function bytes(size: number): string {
  if (size >= 1e9) return `${(size / 1e9).toFixed(1)} GB`;
  return size >= 1e6 ? `${Math.round(size / 1e6)} MB` : `${Math.max(1, Math.round(size / 1e3))} kB`;
}

function tokens(count: number): string {
  return count >= 1_000_000 ? `${Math.round(count / 1e6)}M` : count >= 10_000 ? `${Math.round(count / 1e3)}k` : `${count}`;
}
