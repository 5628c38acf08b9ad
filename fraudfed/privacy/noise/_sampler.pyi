from typing_extensions import Buffer

def gaussians(
    variances: Buffer, noise: Buffer, stream: Buffer, most_steps: int, /
) -> tuple[int, int, bool]: ...
