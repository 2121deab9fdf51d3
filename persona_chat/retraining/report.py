"""How a job is told to people, in plain lines: how far it is, how it compares, how it ended."""

from persona_chat.retraining.gate import Bounds, Line, judge, shown
from persona_chat.retraining.plan import spoken_time
from persona_chat.store.jobs import Job, State

BAR_CELLS = 20

_STATES = {
    State.TRAINING: "learning",
    State.EVALUATING: "comparing",
    State.PROMOTING: "putting the new adapter in service",
    State.PROMOTED: "in service",
    State.PARKED: "parked",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
    State.INTERRUPTED: "interrupted",
}


def standing(job: Job) -> str:
    """Say in a word or two where a job stands."""
    return _STATES[job.state]


def progress(job: Job) -> str:
    """Say in a line how far a job is that is under way."""
    if job.cancel_asked:
        return "Cancelling…"
    if job.state is State.EVALUATING:
        return f"Learned. Comparing it with {in_service(job)}…"
    if job.state is State.PROMOTING:
        return "It passed. Putting it in service…"
    if not job.step:
        return "Getting ready…"
    parts = [f"step {job.step} of {job.order.steps}"]
    if job.loss is not None:
        parts.append(f"loss {job.loss:.2f}")
    if job.seconds_left is not None:
        parts.append(f"about {spoken_time(job.seconds_left)} left, then it is compared")
    return f"{bar(job.step / job.order.steps)} {' · '.join(parts)}"


def bar(share: float) -> str:
    """Draw a share, 0 to 1, in text."""
    full = round(min(1.0, max(0.0, share)) * BAR_CELLS)
    return "█" * full + "░" * (BAR_CELLS - full)


def card(job: Job) -> list[str]:
    """Return a line for each metric: how it is in service, how the candidate is, what passes. Empty if unmeasured."""
    if not job.candidate_scores and not job.service_scores:
        return []
    verdict = judge(job.candidate_scores, job.service_scores, Bounds().fewest_rows)
    return [_line(line) for line in verdict.lines]


def outcome(job: Job, use: str = "persona-chat adapters use") -> str:
    """Say in a sentence or two how a job ended. `use` is the command that puts an adapter in service."""
    kept = f" {job.candidate} is kept; `{use} {job.candidate}` would take it all the same."
    reason = f" {job.reason}" if job.reason else ""
    match job.state:
        case State.PROMOTED:
            return f"In service now: {job.candidate}."
        case State.PARKED:
            return f"Parked.{reason}{kept if job.candidate else ''}"
        case State.CANCELLED:
            return f"Cancelled. {_goes_on(job)}"
        case State.FAILED:
            return f"Failed.{reason} {_goes_on(job)}"
        case State.INTERRUPTED:
            files = f" Its files are in {job.run_folder}." if job.run_folder and not job.order.channel_id else ""
            return f"Interrupted.{reason}{files}"
    return progress(job)


def in_service(job: Job) -> str:
    """How the adapter is called that served when the job began."""
    return job.order.in_service or "what is in service"


def _goes_on(job: Job) -> str:
    return f"{in_service(job).capitalize() if job.order.in_service is None else job.order.in_service} goes on."


def _line(line: Line) -> str:
    mark = "✅" if line.passed else "❌"
    now, new = shown(line.service, line.share), shown(line.candidate, line.share)
    bound = ""
    if line.bound is not None:
        bound = f" ({'at most' if line.at_most else 'at least'} {shown(line.bound, line.share)})"
    return f"{mark} {line.metric}: {now} in service, {new} new{bound}"
